//! Writing entries.

use ledger::NewEntry;
use serde_json::{Value, json};

use super::server::{BASE, Server, balances, dinner, payment, user, with};
use crate::write::Request;

const ALL: [&str; 3] = ["ann", "ben", "carl"];

#[tokio::test]
async fn a_dinner_for_three() {
    let server = Server::new(&ALL).await;
    let room = server.group(&ALL).await;
    let before = server.events(&room).await.len();
    let answer = server.add("ann", &room, "expense", dinner(&ALL)).await.ok();
    let entry = &answer["entry"];
    assert_eq!((&entry["status"], &entry["sender"]), (&json!("counts"), &json!("@ann:hs")));
    let owed: Vec<Value> = ALL.iter().map(|name| json!({"who": user(name), "amount": "28.00"})).collect();
    assert_eq!(entry["content"]["owed"], json!(owed));
    assert_eq!(entry["content"]["paid"], json!([{"who": "@ann:hs", "amount": "84.00"}]));
    assert_eq!(entry["content"]["date"], "2023-11-14");
    assert_eq!(entry["content"]["uid"], answer["uid"]);
    assert_eq!((&entry["event_id"], &entry["current"]), (&answer["event_id"], &answer["event_id"]));
    assert_eq!(entry["line_event_id"], answer["line_event_id"]);
    assert_eq!(
        server.balances("ben", &room).await,
        balances(&[("ann", "56.00"), ("ben", "-28.00"), ("carl", "-28.00")])
    );

    let ledger = server.ledger("carl", &room).await;
    for view in ["pairwise", "edges", "minimal"] {
        let transfers = ledger["plans"][view]["transfers"].as_array().unwrap();
        let all: Vec<_> = transfers.iter().map(|one| (&one["from"], &one["to"], &one["amount"])).collect();
        let (ann, share) = (&json!("@ann:hs"), &json!("28.00"));
        assert_eq!(all, [(&json!("@ben:hs"), ann, share), (&json!("@carl:hs"), ann, share)], "{view}");
    }
    assert_eq!((&ledger["entries"], &ledger["rejects"], &ledger["missing"]), (&json!(2), &json!([]), &json!([])));
    assert_eq!(ledger["heads"], json!([answer["event_id"]]));

    // The entry and its line, one behind the other, and nothing else.
    let events = server.events(&room).await;
    let new: Vec<_> = events[before..].iter().map(|(id, kind, _)| (json!(id), kind.as_str())).collect();
    assert_eq!(
        new,
        [(answer["event_id"].clone(), "com.cliquepay.expense"), (answer["line_event_id"].clone(), "m.room.message"),]
    );
    let line = &events[before + 1].2;
    assert_eq!(line["body"], "ann paid €84.00 for Dinner: ben owes €28.00, carl owes €28.00");
    assert_eq!(line["msgtype"], "m.text");
    assert_eq!(line["m.relates_to"], json!({"rel_type": "m.reference", "event_id": answer["event_id"]}));
    assert_eq!(line["m.mentions"], json!({}));
}

#[tokio::test]
async fn the_line_comes_with_its_entry_or_neither_does() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    // Ben may write entries but no messages.
    let levels = json!({"users": {"@ann:hs": 100}, "events": {"m.room.message": 50}});
    server.state("ann", &room, "m.room.power_levels", "", levels).await;
    let before = server.events(&room).await.len();
    server.add("ben", &room, "expense", dinner(&["ann", "ben"])).await.refused(403, "M_FORBIDDEN");
    assert_eq!(server.events(&room).await.len(), before);
    server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "42.00"), ("ben", "-42.00")]));
}

#[tokio::test]
async fn a_ledger_may_want_no_lines() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group_with(&["ann", "ben"], json!({"lines": false})).await;
    let answer = server.add("ann", &room, "expense", dinner(&["ann", "ben"])).await.ok();
    assert_eq!(answer.get("line_event_id"), None);
    assert_eq!(answer["entry"].get("line_event_id"), None);
    assert!(server.events(&room).await.iter().all(|(_, kind, _)| kind != "m.room.message"));
    assert_eq!(server.ledger("ann", &room).await["open"]["policies"], json!({"lines": false}));
}

#[tokio::test]
async fn names_in_lines_are_those_of_the_room() {
    let server = Server::new(&ALL).await;
    let room = server.group(&ALL).await;
    for (who, name) in [("ann", "Ann B."), ("ben", "Sam"), ("carl", "Sam")] {
        server.state(who, &room, "m.room.member", &user(who), json!({"membership": "join", "displayname": name})).await;
    }
    server.added("ann", &room, "expense", dinner(&ALL)).await;
    let events = server.events(&room).await;
    let body = events.last().unwrap().2["body"].as_str().unwrap();
    assert_eq!(body, "Ann B. paid €84.00 for Dinner: Sam (@ben:hs) owes €28.00, Sam (@carl:hs) owes €28.00");
    // A name that was redacted is said no more.
    let id = events.iter().rfind(|event| event.1 == "m.room.member" && event.2["displayname"] == "Ann B.").unwrap();
    server.redact("ann", &room, &id.0).await;
    server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    let events = server.events(&room).await;
    assert_eq!(events.last().unwrap().2["body"], "ann paid €84.00 for Dinner: Sam (@ben:hs) owes €42.00");
}

#[tokio::test]
async fn the_same_request_makes_one_entry() {
    let mut server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    let path = format!("/rooms/{room}/ledger/entries/t");
    // With a uid of its own, and so nothing that could be written twice.
    let draft =
        json!({"type": "com.cliquepay.expense", "content": with(&dinner(&["ann", "ben"]), json!({"uid": "u"}))});
    let first = server.put("ann", &path, &draft).await.ok();
    let count = server.events(&room).await.len();
    assert_eq!(server.put("ann", &path, &draft).await.ok(), first);
    server.restart();
    let again = server.put("ann", &path, &draft).await.ok();
    assert_eq!((&again["event_id"], &again["line_event_id"]), (&first["event_id"], &first["line_event_id"]));
    assert_eq!(again, first);
    assert_eq!(server.events(&room).await.len(), count);
    server.put("ann:PHONE", &path, &draft).await.names("uid");
    server.put("ann", &format!("{path}2"), &draft).await.names("uid");
    // A void cannot be made twice either, and its repetition still gets the first answer.
    let draft = json!({"type": "com.cliquepay.void", "content": {"target": first["event_id"]}});
    let void = server.put("ann", &format!("{path}3"), &draft).await.ok();
    assert_eq!(server.put("ann", &format!("{path}3"), &draft).await.ok(), void);
    server.put("ann", &format!("{path}4"), &draft).await.names("target");
}

#[tokio::test]
async fn a_request_that_another_overtook_finds_its_entry() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    let (requester, held) = (server.requester("ann").await, server.room(&room).await);
    let path = format!("{BASE}/rooms/{room}/ledger/entries/t");
    let request = Request { requester: &requester, path: &path };
    let content = with(&dinner(&["ann", "ben"]), json!({"uid": "u"}));
    let draft = NewEntry { kind: "com.cliquepay.expense", content: &content };
    // Both have seen that there is no entry yet; when the second is checked, its uid is taken: by itself.
    let first = server.api().make_entry(&held, request, &draft).await.unwrap();
    assert_eq!(server.api().make_entry(&held, request, &draft).await.unwrap(), first);
    let other = Request { requester: &requester, path: "/other" };
    assert!(server.api().make_entry(&held, other, &draft).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_request_at_once_makes_one_entry() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    for round in 0..20 {
        let path = format!("/rooms/{room}/ledger/entries/r{round}");
        let content = with(&dinner(&["ann", "ben"]), json!({"uid": format!("u{round}")}));
        let draft = json!({"type": "com.cliquepay.expense", "content": content});
        let (a, b, c) = tokio::join!(
            server.put("ann", &path, &draft),
            server.put("ann", &path, &draft),
            server.put("ann", &path, &draft)
        );
        let first = a.ok();
        assert_eq!([b.ok(), c.ok()], [first.clone(), first]);
        assert_eq!(server.ledger("ann", &room).await["entries"], round + 2);
    }
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "840.00"), ("ben", "-840.00")]));
}

#[tokio::test]
async fn a_repetition_waits_until_the_entry_can_be_read() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    // So that there is a fold that would have to be brought up to date.
    server.ledger("ann", &room).await;
    let requester = server.requester("ann").await;
    let path = format!("/rooms/{room}/ledger/entries/t");
    let full = format!("{BASE}{path}");
    let txn = Request { requester: &requester, path: &full }.txn();
    let draft = json!({"type": "com.cliquepay.expense", "content": dinner(&["ann", "ben"])});
    server.store.linger(100);
    let again = async {
        // Its rows are there, and the first request has no answer yet.
        while server.api().engine.sent_with(&txn).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        server.put("ann", &path, &draft).await.ok()
    };
    let (first, again) = tokio::join!(server.put("ann", &path, &draft), again);
    assert_eq!(first.ok(), again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_write_and_read_at_once() {
    let server = std::sync::Arc::new(Server::new(&ALL).await);
    let room = server.group(&ALL).await;
    let mut tasks = Vec::new();
    for who in ALL {
        let (server, room) = (std::sync::Arc::clone(&server), room.clone());
        tasks.push(tokio::spawn(async move {
            for _ in 0..15 {
                let made = server.added(who, &room, "expense", dinner(&ALL)).await;
                // Whoever has an answer finds the entry in everything that is read from then on.
                assert_eq!(server.status(who, &room, &made).await, "counts");
                server.ledger(who, &room).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(server.balances("ann", &room).await, balances(&[]));
    assert_eq!(server.ledger("ann", &room).await["entries"], 46);
}

#[tokio::test]
async fn a_preview_writes_nothing_and_says_what_would_be_signed() {
    let server = Server::new(&ALL).await;
    let room = server.group(&ALL).await;
    let path = format!("/rooms/{room}/ledger/preview");
    let (before, digest) = (server.api().engine.frontier(), server.ledger("ann", &room).await["digest"].clone());
    let content = with(&dinner(&ALL), json!({"uid": "u"}));
    let draft = json!({"type": "com.cliquepay.expense", "content": content});
    let preview = server.post("ann", &path, &draft).await.ok();
    assert_eq!(server.post("ann", &path, &draft).await.ok(), preview);
    let bad = json!({"type": "com.cliquepay.expense", "content": with(&content, json!({"amount": "84.0"}))});
    server.post("ann", &path, &bad).await.names("amount");
    assert_eq!(server.api().engine.frontier(), before);
    assert_eq!(server.ledger("ann", &room).await["digest"], digest);
    let made = server.add("ann", &room, "expense", content).await.ok();
    assert_eq!(made["entry"]["content"], preview["content"]);
}

#[tokio::test]
async fn an_author_takes_an_entry_back_and_a_stranger_cannot() {
    let server = Server::new(&["ann", "ben", "carl", "dora"]).await;
    let room = server.group(&["ann", "ben", "carl", "dora"]).await;
    let entry = server.added("ben", &room, "expense", dinner(&["ben", "carl"])).await;
    // Dora is in the room, but neither on the bill nor a manager.
    server.add("dora", &room, "void", json!({"target": entry})).await.refused(403, "M_FORBIDDEN");
    let amend = json!({"target": entry, "content": dinner(&["ben", "carl"])});
    server.add("dora", &room, "amend", amend).await.refused(403, "M_FORBIDDEN");
    let void = server.add("ben", &room, "void", json!({"target": entry, "reason": "twice"})).await.ok();
    assert_eq!(void["entry"]["status"], "counts");
    assert_eq!(void.get("uid"), None);
    let shown = server.entry("dora", &room, &entry).await;
    assert_eq!((&shown["status"], &shown["voided_by"]), (&json!("void"), &void["event_id"]));
    assert_eq!(server.balances("ann", &room).await, balances(&[]));
    let events = server.events(&room).await;
    assert_eq!(events.last().unwrap().2["body"], "ben removed \"Dinner\" (€84.00) (twice)");
}

#[tokio::test]
async fn whoever_is_on_the_bill_or_manages_the_ledger_may_change_it() {
    let server = Server::new(&["ann", "ben", "carl"]).await;
    let room = server.group(&["ann", "ben", "carl"]).await;
    let entry = server.added("ben", &room, "expense", dinner(&["ben", "carl"])).await;
    let new = with(&dinner(&["ben", "carl"]), json!({"amount": "50.00"}));
    let amend = server.add("carl", &room, "amend", json!({"target": entry, "content": new})).await.ok();
    assert_eq!(amend["entry"]["content"]["content"]["paid"], json!([{"who": "@ben:hs", "amount": "50.00"}]));
    assert_eq!(server.balances("ann", &room).await, balances(&[("ben", "25.00"), ("carl", "-25.00")]));
    assert_eq!(server.status("ann", &room, &entry).await, "superseded");
    assert_eq!(server.entry("ann", &room, &entry).await["current"], amend["event_id"]);
    // By any of its versions; Ann opened the ledger.
    let again = json!({"target": amend["event_id"], "content": dinner(&["ann", "ben", "carl"])});
    server.added("ann", &room, "amend", again).await;
    assert_eq!(
        server.balances("ann", &room).await,
        balances(&[("ann", "-28.00"), ("ben", "56.00"), ("carl", "-28.00")])
    );
}

#[tokio::test]
async fn who_left_stays_on_what_they_are_on_and_comes_on_nothing_new() {
    let server = Server::new(&ALL).await;
    let room = server.group(&ALL).await;
    let entry = server.added("ben", &room, "expense", dinner(&ALL)).await;
    let owed = server.added("ann", &room, "expense", dinner(&["ann", "carl"])).await;
    server.member("ben", "ben", &room, "leave").await;
    server.add("ann", &room, "expense", dinner(&ALL)).await.names("split.inputs[1].who");
    // The bill that he paid and is on can be put right, and he can be paid what he is owed.
    let new = with(&dinner(&ALL), json!({"amount": "60.00"}));
    server.added("ann", &room, "amend", json!({"target": entry, "content": new})).await;
    assert_eq!(
        server.balances("ann", &room).await,
        balances(&[("ann", "22.00"), ("ben", "40.00"), ("carl", "-62.00")])
    );
    server.added("carl", &room, "settlement", payment("carl", "ben", "20.00")).await;
    // He comes on no bill that he was not on.
    let onto = json!({"target": owed, "content": dinner(&ALL)});
    server.add("ann", &room, "amend", onto).await.names("content.split.inputs[1].who");
    server.get("ben", &format!("/rooms/{room}/ledger")).await.refused(403, "M_FORBIDDEN");
    server.add("ben", &room, "expense", dinner(&["ann"])).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn people_without_an_account_stand_with_whoever_declared_them() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    server.added("ann", &room, "participant", json!({"action": "declare", "pid": "kim", "name": "Kim"})).await;
    let split = |who: &str| json!({"split": {"method": "equal", "inputs": [{"who": "@ann:hs"}, {"who": who}]}});
    server.added("ann", &room, "expense", with(&dinner(&[]), split("kim~@ann:hs"))).await;
    server.add("ann", &room, "expense", with(&dinner(&[]), split("kim~@eve:hs"))).await.names("split.inputs[1].who");
    let ledger = server.ledger("ben", &room).await;
    assert_eq!(ledger["balances"][1], json!({"who": "kim~@ann:hs", "currency": "EUR", "amount": "-42.00"}));
}

#[tokio::test]
async fn every_method_of_splitting() {
    let server = Server::new(&ALL).await;
    let room = server.group(&ALL).await;
    let value = |a: &str, b: &str| json!([{"who": "@ann:hs", "value": a}, {"who": "@ben:hs", "value": b}]);
    for (split, items, shares) in [
        (json!({"method": "exact", "inputs": value("50.00", "34.00")}), None, ["50.00", "34.00"]),
        (json!({"method": "percent", "inputs": value("25", "75")}), None, ["21.00", "63.00"]),
        (json!({"method": "shares", "inputs": value("2", "1")}), None, ["56.00", "28.00"]),
        (json!({"method": "adjustment", "inputs": value("4.00", "0.00")}), None, ["44.00", "40.00"]),
        (
            json!({"method": "itemised"}),
            Some(json!([
                {"title": "Fish", "amount": "40.00", "who": ["@ann:hs"]},
                {"title": "Wine", "amount": "30.00", "who": ["@ann:hs", "@ben:hs"]},
            ])),
            ["66.00", "18.00"],
        ),
    ] {
        let mut content = with(&dinner(&ALL), json!({"split": split}));
        if let Some(items) = items {
            content["items"] = items;
        }
        let answer = server.add("ann", &room, "expense", content).await.ok();
        let owed = &answer["entry"]["content"]["owed"];
        assert_eq!([&owed[0]["amount"], &owed[1]["amount"]], [&json!(shares[0]), &json!(shares[1])], "{owed}");
        assert_eq!(answer["entry"].get("warnings"), None);
    }
    // What is signed is what is owed; where that is not what the method gives, readers are warned.
    let owed = json!([{"who": "@ann:hs", "amount": "80.00"}, {"who": "@ben:hs", "amount": "4.00"}]);
    let odd = server.add("ann", &room, "expense", with(&dinner(&["ann", "ben"]), json!({"owed": owed}))).await.ok();
    assert_eq!(odd["entry"]["status"], "counts");
    assert_eq!(odd["entry"]["warnings"].as_array().unwrap().len(), 2);
}
