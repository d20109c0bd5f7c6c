//! Making groups and opening ledgers.

use serde_json::{Value, json};

use super::server::{BASE, Server, balances, dinner, payment, user};
use crate::{OPEN, POINTER, group::NewGroup, write::Request};

fn new_group() -> Value {
    json!({"name": " Friday dinner ", "currency": "EUR", "invite": ["@ben:hs", "@ben:hs", "@ann:hs"]})
}

#[tokio::test]
async fn a_group_is_a_room_with_an_open_ledger() {
    let server = Server::new(&["ann", "ben"]).await;
    let made = server.put("ann", "/groups/t", &new_group()).await.ok();
    let room = made["room_id"].as_str().unwrap();
    let ledger = server.ledger("ann", room).await;
    assert_eq!(ledger["ledger"], made["ledger"]);
    assert_eq!(ledger["name"], "Friday dinner");
    assert_eq!(ledger["currency"], "EUR");
    assert_eq!(ledger["open"]["currency"], "EUR");
    assert_eq!((&ledger["entries"], &ledger["members"]), (&json!(1), &json!(1)));
    let people = ledger["participants"].as_array().unwrap();
    assert_eq!(people[0], json!({"user_id": "@ann:hs", "name": "ann", "membership": "join"}));
    assert_eq!(people[1], json!({"user_id": "@ben:hs", "name": "ben", "membership": "invite"}));

    let events = server.events(room).await;
    let of = |kind: &str| events.iter().filter(|event| event.1 == kind).collect::<Vec<_>>();
    assert_eq!(of("m.room.member").len(), 2, "nobody is invited twice, nor the creator");
    assert_eq!(of(POINTER)[0].2, json!({"ledger": made["ledger"]}));
    let line = of("m.room.message")[0];
    assert_eq!(line.2["body"], "ann opened the ledger in EUR");
    assert_eq!(line.2["m.relates_to"], json!({"rel_type": "m.reference", "event_id": made["ledger"]}));
    let create = &events[0].0;
    assert_eq!(of(OPEN)[0].2["m.relates_to"]["event_id"], json!(create));
}

#[tokio::test]
async fn the_same_request_makes_one_group() {
    let mut server = Server::new(&["ann", "ben"]).await;
    let first = server.put("ann", "/groups/t", &new_group()).await.ok();
    assert_eq!(server.put("ann", "/groups/t", &new_group()).await.ok(), first);
    server.restart();
    assert_eq!(server.put("ann", "/groups/t", &new_group()).await.ok(), first);
    let groups = server.get("ann", "/groups").await.ok();
    assert_eq!(groups["groups"].as_array().unwrap().len(), 1);
    // Another device, another person and another id are other requests.
    for (who, txn) in [("ann:PHONE", "t"), ("ben", "t"), ("ann", "u")] {
        let body = json!({"name": "Other", "currency": "EUR"});
        assert_ne!(server.put(who, &format!("/groups/{txn}"), &body).await.ok()["room_id"], first["room_id"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_request_at_once_makes_one_group() {
    let server = Server::new(&["ann", "ben"]).await;
    for round in 0..10 {
        let (path, body) = (format!("/groups/r{round}"), new_group());
        let (a, b, c, d) = tokio::join!(
            server.put("ann", &path, &body),
            server.put("ann", &path, &body),
            server.put("ann", &path, &body),
            server.put("ann", &path, &body),
        );
        let first = a.ok();
        assert_eq!([b.ok(), c.ok(), d.ok()], [first.clone(), first.clone(), first]);
        let groups = server.get("ann", "/groups").await.ok();
        assert_eq!(groups["groups"].as_array().unwrap().len(), round + 1);
        let user = server.requester("ann").await.user;
        assert_eq!(server.api().engine.user_rooms().of(user).await.unwrap().iter().count(), round + 1);
    }
}

#[tokio::test]
async fn a_request_that_another_overtook_finds_its_room() {
    let server = Server::new(&["ann", "ben"]).await;
    let requester = server.requester("ann").await;
    let path = format!("{BASE}/groups/t");
    let request = Request { requester: &requester, path: &path };
    let new: NewGroup = serde_json::from_value(new_group()).unwrap();
    // Both have seen that there is no room yet.
    let first = server.api().make_room_once(request, &new, "Friday dinner").await.unwrap();
    let second = server.api().make_room_once(request, &new, "Friday dinner").await.unwrap();
    assert_eq!(first.id, second.id);
    let made = server.put("ann", "/groups/t", &new_group()).await.ok();
    assert_eq!(made["room_id"], json!(first.id));
    assert_eq!(server.api().engine.user_rooms().of(requester.user).await.unwrap().iter().count(), 1);
}

#[tokio::test]
async fn a_request_that_was_cut_short_is_finished_by_its_repetition() {
    let mut server = Server::new(&["ann", "ben"]).await;
    let requester = server.requester("ann").await;
    let path = format!("{BASE}/groups/t");
    let request = Request { requester: &requester, path: &path };
    let new: NewGroup = serde_json::from_value(new_group()).unwrap();
    let room = server.api().room_of(request, &new, "Friday dinner").await.unwrap().id.to_string();
    server.get("ann", &format!("/rooms/{room}/ledger")).await.refused(404, "M_NOT_FOUND");
    server.restart();
    let made = server.put("ann", "/groups/t", &new_group()).await.ok();
    assert_eq!(made["room_id"], json!(room));
    assert_eq!(server.ledger("ann", &room).await["entries"], 1);
    assert_eq!(server.put("ann", "/groups/t", &new_group()).await.ok(), made);
}

#[tokio::test]
async fn what_no_group_can_be_made_of_is_refused_before_there_is_a_room() {
    let server = Server::new(&["ann", "ben"]).await;
    let long = "x".repeat(256);
    let crowd: Vec<String> = (0..201).map(|n| user(&format!("u{n}"))).collect();
    for (changes, field) in [
        (json!({"name": "  "}), "name"),
        (json!({"name": long}), "name"),
        (json!({"currency": "XXX"}), "currency"),
        (json!({"currency": "x-beer"}), "currency"),
        (json!({"preset": "secret_chat"}), "preset"),
        (json!({"invite": ["ben"]}), "invite[0]"),
        (json!({"invite": ["@ben:hs", "@nobody:hs"]}), "invite[1]"),
        (json!({"invite": ["@ben:elsewhere.test"]}), "invite[0]"),
        (json!({"invite": crowd}), "invite"),
        (json!({"policies": {"edit": "nobody"}}), "policies.edit"),
    ] {
        let body = super::server::with(&new_group(), changes.clone());
        server.put("ann", &format!("/groups/{}", server.txn()), &body).await.names(field);
    }
    let body = server.put("ann", "/groups/x", &json!({"name": "N"})).await.refused(400, "M_MISSING_PARAM");
    assert_eq!(body["field"], "currency");
    server.put("", "/groups/x", &new_group()).await.refused(401, "M_MISSING_TOKEN");
    let user = server.requester("ann").await.user;
    assert_eq!(server.api().engine.user_rooms().of(user).await.unwrap().iter().count(), 0);
}

#[tokio::test]
async fn nobody_is_invited_to_a_group_who_takes_no_invitations() {
    let server = Server::new(&["ann", "ben"]).await;
    let ben = server.requester("ben").await.user;
    let none = serde_json::value::to_raw_value(&json!({"default_action": "block"})).unwrap();
    let data = &server.api().users.account_data;
    data.set(ben, None, "m.invite_permission_config", &none).await.unwrap();
    server.put("ann", "/groups/t", &new_group()).await.names("invite[0]");
    data.delete(ben, None, "m.invite_permission_config").await.unwrap();
    server.put("ann", "/groups/t", &new_group()).await.ok();
}

#[tokio::test]
async fn groups_are_listed_with_what_is_owed() {
    let server = Server::new(&["ann", "ben"]).await;
    let first = server.group(&["ann", "ben"]).await;
    server.clock.advance(1000);
    let second = server.group(&["ben", "ann"]).await;
    server.clock.advance(1000);
    server.added("ann", &first, "expense", dinner(&["ann", "ben"])).await;
    server.added("ben", &second, "settlement", payment("ann", "ben", "10.00")).await;
    server.added("ben", &second, "expense", dinner(&["ann", "ben"])).await;
    server.plain_room(&["ann", "ben"]).await;
    let ann = server.get("ann", "/groups").await.ok();
    let groups = ann["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 2);
    for (group, room, amount) in [(&groups[0], &first, "42.00"), (&groups[1], &second, "-32.00")] {
        assert_eq!(group["room_id"], json!(room));
        assert_eq!(group["balances"], json!([{"currency": "EUR", "amount": amount}]));
        assert_eq!((&group["members"], &group["currency"]), (&json!(2), &json!("EUR")));
    }
    assert_eq!(ann["totals"], json!([{"currency": "EUR", "owed": "42.00", "owe": "32.00"}]));
    server.member("ann", "ann", &second, "leave").await;
    let ann = server.get("ann", "/groups").await.ok();
    assert_eq!(ann["groups"].as_array().unwrap().len(), 1);
    assert_eq!(ann["totals"], json!([{"currency": "EUR", "owed": "42.00", "owe": "0.00"}]));
}

#[tokio::test]
async fn a_room_gets_one_ledger() {
    let server = Server::new(&["ann", "ben", "eve"]).await;
    let room = server.plain_room(&["ann", "ben"]).await;
    let path = format!("/rooms/{room}/ledger");
    let body = json!({"currency": "EUR"});
    server.state("ann", &room, "m.room.history_visibility", "", json!({"history_visibility": "joined"})).await;
    server.get("ann", &path).await.refused(404, "M_NOT_FOUND");
    server.add("ann", &room, "expense", dinner(&["ann"])).await.refused(404, "M_NOT_FOUND");
    // The room's rules decide who may open one, and nothing is left behind where they refuse it.
    let before = server.events(&room).await.len();
    server.put("ben", &format!("{path}/t"), &body).await.refused(403, "M_FORBIDDEN");
    server.put("eve", &format!("{path}/t"), &body).await.refused(403, "M_FORBIDDEN");
    server
        .put("ann", &format!("{path}/t"), &json!({"currency": "EUR", "managers": ["ben"]}))
        .await
        .names("managers[0]");
    assert_eq!(server.events(&room).await.len(), before);

    let made = server.put("ann", &format!("{path}/t"), &body).await.ok();
    assert_eq!(server.put("ann", &format!("{path}/t"), &body).await.ok(), made);
    server.put("ann", &format!("{path}/u"), &body).await.refused(409, "COM.CLIQUEPAY.LEDGER_EXISTS");
    let events = server.events(&room).await;
    let visibility = events.iter().rfind(|event| event.1 == "m.room.history_visibility").unwrap();
    assert_eq!(visibility.2, json!({"history_visibility": "shared"}));
    server.added("ben", &room, "expense", dinner(&["ann", "ben"])).await;
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "-42.00"), ("ben", "42.00")]));
}

#[tokio::test]
async fn a_pointer_at_nothing_is_no_ledger() {
    let server = Server::new(&["ann"]).await;
    let room = server.plain_room(&["ann"]).await;
    for content in [json!({}), json!({"ledger": 5}), json!({"ledger": "nothing"})] {
        server.state("ann", &room, POINTER, "", content).await;
        server.get("ann", &format!("/rooms/{room}/ledger")).await.refused(404, "M_NOT_FOUND");
    }
    // Whatever the transaction id is.
    server.put("ann", &format!("/rooms/{room}/ledger/entries"), &json!({"currency": "CHF"})).await.ok();
    assert_eq!(server.ledger("ann", &room).await["currency"], "CHF");
    server
        .put("ann", &format!("/rooms/{room}/ledger/preview"), &json!({"currency": "CHF"}))
        .await
        .refused(409, "COM.CLIQUEPAY.LEDGER_EXISTS");
}

#[tokio::test]
async fn encrypted_rooms_are_for_those_in_them_to_fold() {
    let server = Server::new(&["ann"]).await;
    let encrypt = |room: String| {
        let server = &server;
        async move {
            let content = json!({"algorithm": "m.megolm.v1.aes-sha2"});
            server.state("ann", &room, "m.room.encryption", "", content).await;
        }
    };
    let code = "COM.CLIQUEPAY.ENCRYPTED";
    let room = server.plain_room(&["ann"]).await;
    encrypt(room.clone()).await;
    server.put("ann", &format!("/rooms/{room}/ledger/t"), &json!({"currency": "EUR"})).await.refused(409, code);
    let room = server.group(&["ann"]).await;
    encrypt(room.clone()).await;
    let path = format!("/rooms/{room}/ledger");
    server.get("ann", &path).await.refused(409, code);
    server.get("ann", &format!("{path}/entries")).await.refused(409, code);
    server.get("ann", &format!("{path}/entries/$x")).await.refused(409, code);
    server.add("ann", &room, "expense", dinner(&["ann"])).await.refused(409, code);
    let draft = json!({"type": "com.cliquepay.expense", "content": dinner(&["ann"])});
    server.post("ann", &format!("{path}/preview"), &draft).await.refused(409, code);
    assert_eq!(server.get("ann", "/groups").await.ok()["groups"], json!([]));
    let num = server.room(&room).await.num;
    assert_eq!(server.api().check_room(num).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn groups_work_in_every_room_version_that_they_may_have() {
    use ruma::RoomVersionId::{V3, V6, V10, V11, V12};
    for version in [V3, V6, V10, V11, V12] {
        let mut server = Server::with_version(version.clone(), &["ann", "ben"]).await;
        let room = server.group(&["ann", "ben"]).await;
        let entry = server.added("ben", &room, "expense", dinner(&["ann", "ben"])).await;
        assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "-42.00"), ("ben", "42.00")]));
        server.redact("ben", &room, &entry).await;
        assert_eq!(server.balances("ann", &room).await, balances(&[]), "{version}");
        server.restart();
        assert_eq!(server.balances("ann", &room).await, balances(&[]), "{version}");
    }
}

#[tokio::test]
async fn rooms_whose_events_are_named_freely_have_no_ledger() {
    use ruma::RoomVersionId::{V1, V2};
    for version in [V1, V2] {
        let server = Server::with_version(version, &["ann"]).await;
        let code = "M_UNSUPPORTED_ROOM_VERSION";
        let body = json!({"name": "Friday dinner", "currency": "EUR"});
        server.put("ann", "/groups/t", &body).await.refused(400, code);
        assert_eq!(server.get("ann", "/groups").await.ok()["groups"], json!([]));
        let room = server.plain_room(&["ann"]).await;
        let refused = server.put("ann", &format!("/rooms/{room}/ledger/t"), &json!({"currency": "EUR"})).await;
        assert!(refused.refused(400, code)["error"].as_str().unwrap().contains("upgrade"));
        // Nor does one come by who writes the events without asking.
        let root = server.raw("ann", &room, OPEN, json!({"version": 1, "currency": "EUR"})).await;
        server.state("ann", &room, POINTER, "", json!({"ledger": root})).await;
        server.get("ann", &format!("/rooms/{room}/ledger")).await.refused(404, "M_NOT_FOUND");
        let num = server.room(&room).await.num;
        assert_eq!(server.api().check_room(num).await.unwrap(), Vec::<String>::new());
    }
}
