//! Entries that come past the API, and redactions.

use serde_json::{Value, json};

use super::server::{Server, balances, dinner, payment, with};
use crate::POINTER;

/// The content of a dinner as the API would sign it.
async fn signed(server: &Server, room: &str, uid: &str) -> Value {
    let draft =
        json!({"type": "com.cliquepay.expense", "content": with(&dinner(&["ann", "ben"]), json!({"uid": uid}))});
    server.post("ann", &format!("/rooms/{room}/ledger/preview"), &draft).await.ok()["content"].clone()
}

#[tokio::test]
async fn what_breaks_a_rule_is_listed_and_never_counts() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    let good = server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    let owed = balances(&[("ann", "42.00"), ("ben", "-42.00")]);
    let mut bad = signed(&server, &room, "u").await;
    bad["owed"][0]["amount"] = json!("41.99");
    let invalid = server.raw("ann", &room, "com.cliquepay.expense", bad).await;
    let unknown = server
        .raw("ann", &room, "com.cliquepay.nonsense", json!({"open": server.ledger("ann", &room).await["ledger"]}))
        .await;
    let homeless = server.raw("ann", &room, "com.cliquepay.expense", json!({"title": "Dinner"})).await;
    // What is empty is what a redaction leaves: it says nothing that could be wrong.
    server.raw("ann", &room, "com.cliquepay.expense", json!({})).await;
    let stranger = json!({"target": good, "over": [good], "open": server.ledger("ann", &room).await["ledger"]});
    server.register("eve").await;
    server.member("ann", "eve", &room, "invite").await;
    server.member("eve", "eve", &room, "join").await;
    let unauthorised = server.raw("eve", &room, "com.cliquepay.void", stranger.clone()).await;
    let orphaned =
        server.raw("ann", &room, "com.cliquepay.void", with(&stranger, json!({"target": "$gone", "over": []}))).await;
    assert_eq!(server.balances("ann", &room).await, owed);
    let ledger = server.ledger("ann", &room).await;
    let rejects = ledger["rejects"].as_array().unwrap();
    for (id, kind, status) in [
        (&invalid, "expense", "invalid"),
        (&unknown, "nonsense", "invalid"),
        (&homeless, "expense", "invalid"),
        (&unauthorised, "void", "unauthorised"),
        (&orphaned, "void", "orphaned"),
    ] {
        let reject = rejects.iter().find(|reject| reject["event_id"] == json!(id)).unwrap();
        assert_eq!((&reject["type"], &reject["status"]), (&json!(format!("com.cliquepay.{kind}")), &json!(status)));
        assert!(!reject["reason"].as_str().unwrap().is_empty());
        assert_eq!(server.status("ann", &room, id).await, status);
    }
    assert_eq!(rejects.len(), 5);
    assert_eq!(ledger["missing"], json!([{"event_id": "$gone", "cited_by": [orphaned]}]));
}

#[tokio::test]
async fn a_good_entry_counts_however_it_came() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    let content = signed(&server, &room, "u").await;
    let id = server.raw("ann", &room, "com.cliquepay.expense", content.clone()).await;
    let entry = server.entry("ben", &room, &id).await;
    assert_eq!((&entry["status"], entry.get("line_event_id")), (&json!("counts"), None));
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "42.00"), ("ben", "-42.00")]));
    // Sent once more it is the same entry still.
    server.raw("ann", &room, "com.cliquepay.expense", content).await;
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "42.00"), ("ben", "-42.00")]));
    // State events are no entries.
    server.state("ann", &room, "com.cliquepay.payto", "@ann:hs", json!({"uri": "payto://iban/x"})).await;
    assert_eq!(server.ledger("ann", &room).await["entries"], 3);
}

#[tokio::test]
async fn a_redacted_entry_counts_no_more() {
    let mut server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    let first = server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    let second = server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "84.00"), ("ben", "-84.00")]));
    let chat = server.raw("ann", &room, "m.room.message", json!({"msgtype": "m.text", "body": "hm"})).await;
    server.redact("ann", &room, &chat).await;
    server.redact("ann", &room, &second).await;
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "42.00"), ("ben", "-42.00")]));
    let shown = server.entry("ben", &room, &second).await;
    assert_eq!((&shown["status"], &shown["content"]), (&json!("redacted"), &json!({})));
    let digest = server.ledger("ann", &room).await["digest"].clone();
    // A fold of what was emptied from the start is the same.
    server.restart();
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "42.00"), ("ben", "-42.00")]));
    assert_eq!(server.ledger("ann", &room).await["digest"], digest);
    server.redact("ann", &room, &first).await;
    assert_eq!(server.balances("ann", &room).await, balances(&[]));
}

#[tokio::test]
async fn a_redacted_void_gives_the_entry_back() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    let entry = server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    let void = server.added("ann", &room, "void", json!({"target": entry})).await;
    assert_eq!(server.balances("ann", &room).await, balances(&[]));
    server.redact("ann", &room, &void).await;
    assert_eq!(server.status("ben", &room, &entry).await, "counts");
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "42.00"), ("ben", "-42.00")]));
}

#[tokio::test]
async fn a_redacted_line_is_named_no_more() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    let made = server.add("ann", &room, "expense", dinner(&["ann", "ben"])).await.ok();
    let (entry, line) = (made["event_id"].as_str().unwrap(), made["line_event_id"].as_str().unwrap());
    // Neither somebody else's message about it nor a redacted line is its line.
    let about =
        json!({"msgtype": "m.text", "body": "?", "m.relates_to": {"rel_type": "m.reference", "event_id": entry}});
    server.raw("ben", &room, "m.room.message", about).await;
    assert_eq!(server.entry("ben", &room, entry).await["line_event_id"], json!(line));
    server.redact("ann", &room, line).await;
    assert_eq!(server.entry("ben", &room, entry).await.get("line_event_id"), None);
}

#[tokio::test]
async fn another_ledger_in_the_room_is_another_ledger() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    let first = server.ledger("ann", &room).await["ledger"].clone();
    let old = server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    let root = server.raw("ann", &room, "com.cliquepay.open", json!({"version": 1, "currency": "CHF"})).await;
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "42.00"), ("ben", "-42.00")]));
    server.state("ann", &room, POINTER, "", json!({"ledger": root})).await;
    assert_eq!(server.ledger("ann", &room).await["currency"], "CHF");
    assert_eq!(server.balances("ann", &room).await, balances(&[]));
    server.get("ann", &format!("/rooms/{room}/ledger/entries/{old}")).await.refused(404, "M_NOT_FOUND");
    let page = server.get("ann", &format!("/rooms/{room}/ledger/entries")).await.ok();
    assert_eq!(page["entries"].as_array().unwrap().len(), 1);
    server.added("ann", &room, "settlement", payment("ben", "ann", "5.00")).await;
    server.state("ann", &room, POINTER, "", json!({"ledger": first})).await;
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "42.00"), ("ben", "-42.00")]));
}
