//! Paging, folds that are kept, and the check of a room.

use serde_json::{Value, json};
use store::DbWrite;

use super::server::{Server, balances, dinner};
use crate::index::{ENTRIES, REDACTIONS};

/// All pages of a direction: the ids as they came, and how many pages there were.
async fn pages(server: &Server, room: &str, query: &str) -> (Vec<Value>, usize) {
    let (mut ids, mut count, mut from) = (Vec::new(), 0, String::new());
    loop {
        let path = format!("/rooms/{room}/ledger/entries?{query}{from}");
        let page = server.get("ann", &path).await.ok();
        ids.extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["event_id"].clone()));
        count += 1;
        match page["next_batch"].as_str() {
            Some(next) => from = format!("&from={next}"),
            None => return (ids, count),
        }
    }
}

#[tokio::test]
async fn entries_are_paged_both_ways() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    let mut all = vec![server.ledger("ann", &room).await["ledger"].clone()];
    for _ in 0..6 {
        all.push(json!(server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await));
        server.raw("ben", &room, "m.room.message", json!({"msgtype": "m.text", "body": "in between"})).await;
    }
    let newest_first: Vec<Value> = all.iter().rev().cloned().collect();
    for (limit, count) in [(1, 7), (2, 4), (3, 3), (7, 1), (1000, 1)] {
        assert_eq!(pages(&server, &room, &format!("limit={limit}")).await, (newest_first.clone(), count));
        assert_eq!(pages(&server, &room, &format!("dir=b&limit={limit}")).await, (newest_first.clone(), count));
        assert_eq!(pages(&server, &room, &format!("dir=f&limit={limit}")).await, (all.clone(), count));
    }
    assert_eq!(pages(&server, &room, "").await, (newest_first, 1));
    // A page that was begun goes on where it was, whatever comes meanwhile.
    let page = server.get("ann", &format!("/rooms/{room}/ledger/entries?limit=3")).await.ok();
    server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    let path = format!("/rooms/{room}/ledger/entries?limit=3&from={}", page["next_batch"].as_str().unwrap());
    let next = server.get("ann", &path).await.ok();
    assert_eq!(next["entries"][0]["event_id"], all[3]);
    assert_eq!(next["entries"][0], server.entry("ann", &room, all[3].as_str().unwrap()).await);
}

#[tokio::test]
async fn a_fold_is_read_again_after_a_restart() {
    let mut server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    for _ in 0..5 {
        server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    }
    let before = server.ledger("ben", &room).await;
    server.restart();
    assert_eq!(server.ledger("ben", &room).await, before);
    server.added("ben", &room, "expense", dinner(&["ann", "ben"])).await;
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "168.00"), ("ben", "-168.00")]));
}

#[tokio::test]
async fn a_fold_that_nothing_was_added_to_reads_no_entries() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    for _ in 0..20 {
        server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    }
    let held = server.room(&room).await;
    let first = server.api().ledger(&held).await.unwrap();
    let again = server.api().ledger(&held).await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    // A snapshot stays what it was while others write.
    let digest = first.ledger.digest();
    server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    assert_eq!(first.ledger.digest(), digest);
    assert_ne!(server.api().ledger(&held).await.unwrap().ledger.digest(), digest);
}

#[tokio::test]
async fn the_check_finds_what_was_lost_or_added() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    let entry = server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    server.redact("ann", &room, &entry).await;
    assert_eq!(server.balances("ann", &room).await, balances(&[]));
    let (api, num) = (server.api(), server.room(&room).await.num);
    let db = &api.engine.db;
    let entries: Vec<_> = db.scan_all(&ENTRIES, &num).await.unwrap();
    let redactions = db.scan_all(&REDACTIONS, &num).await.unwrap();
    assert_eq!((entries.len(), redactions.len()), (2, 1));
    let change = |make: &dyn Fn(&mut DbWrite<'_>)| {
        let mut write = db.write();
        make(&mut write);
        write.commit()
    };
    let last = entries[1].0;
    change(&|write| {
        write.delete(&ENTRIES, &last);
    })
    .await
    .unwrap();
    assert_eq!(api.check_room(num).await.unwrap().len(), 1);
    change(&|write| {
        write.put(&ENTRIES, &last, &()).put(&ENTRIES, &(num, 9999), &());
    })
    .await
    .unwrap();
    assert_eq!(api.check_room(num).await.unwrap().len(), 1);
    change(&|write| {
        write.delete(&ENTRIES, &(num, 9999)).delete(&REDACTIONS, &redactions[0].0);
    })
    .await
    .unwrap();
    assert_eq!(api.check_room(num).await.unwrap().len(), 1);
}
