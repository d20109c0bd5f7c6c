use serde_json::{Value, json};

use crate::{ClientApiConfig, testing::TestApp};

fn token(sync: &Value) -> String {
    sync["next_batch"].as_str().unwrap().to_owned()
}

/// The content of the event of a type among the ephemeral events of a room.
fn ephemeral(sync: &Value, room: &str, kind: &str) -> Value {
    let events = sync["rooms"]["join"][room]["ephemeral"]["events"].as_array();
    let found = events.and_then(|events| events.iter().find(|event| event["type"] == kind));
    found.map_or(Value::Null, |event| event["content"].clone())
}

#[tokio::test]
async fn receipts_are_seen_by_the_room_and_private_ones_by_oneself() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let (one, two) = (test.say("bob", &room, "1").await, test.say("bob", &room, "2").await);
    let (alice, bob) = (token(&test.sync("alice", None).await), token(&test.sync("bob", None).await));
    let receipt = |kind: &str, event: &str| format!("/v3/rooms/{room}/receipt/{kind}/{event}");

    test.post("alice", &receipt("m.read", &one), json!({})).await.ok();
    test.post("alice", &receipt("m.read.private", &two), json!({})).await.ok();
    let ts = 1_700_000_000_000_u64;
    let public = json!({"m.read": {"@alice:hs": {"ts": ts}}});
    let bobs = test.sync("bob", Some(&bob)).await;
    assert_eq!(ephemeral(&bobs, &room, "m.receipt"), json!({&one: public}));
    let hers = ephemeral(&test.sync("alice", Some(&alice)).await, &room, "m.receipt");
    assert_eq!(hers, json!({&one: public, &two: {"m.read.private": {"@alice:hs": {"ts": ts}}}}));
    let first = ephemeral(&test.sync("bob", None).await, &room, "m.receipt");
    assert_eq!(first, json!({&one: public}));

    // Back is nowhere.
    let bob = token(&bobs);
    test.post("alice", &receipt("m.read", &two), json!({})).await.ok();
    test.post("alice", &receipt("m.read", &one), json!({})).await.ok();
    let news = ephemeral(&test.sync("bob", Some(&bob)).await, &room, "m.receipt");
    assert_eq!(news, json!({&two: public}));
}

#[tokio::test]
async fn of_two_receipts_for_one_event_the_unthreaded_one_is_shown() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let ts = 1_700_000_000_000_u64;
    for bodies in [[json!({}), json!({"thread_id": "main"})], [json!({"thread_id": "main"}), json!({})]] {
        let event = test.say("bob", &room, "read").await;
        let since = token(&test.sync("bob", None).await);
        for body in bodies {
            test.post("alice", &format!("/v3/rooms/{room}/receipt/m.read/{event}"), body).await.ok();
        }
        let news = ephemeral(&test.sync("bob", Some(&since)).await, &room, "m.receipt");
        assert_eq!(news, json!({&event: {"m.read": {"@alice:hs": {"ts": ts}}}}));
    }
}

#[tokio::test]
async fn receipts_name_threads_that_the_event_is_in() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let root = test.say("bob", &room, "root").await;
    let threaded = json!({
        "msgtype": "m.text", "body": "in", "m.relates_to": {"rel_type": "m.thread", "event_id": root},
    });
    let inside = test.send("bob", &room, "m.room.message", threaded).await;
    let reaction = json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": inside, "key": "+"}});
    let reaction = test.send("bob", &room, "m.reaction", reaction).await;
    let outside = test.say("bob", &room, "out").await;
    let alice = token(&test.sync("alice", None).await);
    let send = |event: &str, thread: Value| {
        let path = format!("/v3/rooms/{room}/receipt/m.read/{event}");
        let test = &test;
        async move { test.post("alice", &path, json!({"thread_id": thread})).await }
    };
    send(&inside, json!(root)).await.ok();
    send(&reaction, json!(root)).await.ok();
    send(&root, json!(root)).await.ok();
    send(&root, json!("main")).await.ok();
    send(&outside, json!("main")).await.ok();
    let news = ephemeral(&test.sync("alice", Some(&alice)).await, &room, "m.receipt");
    assert_eq!(news[&reaction]["m.read"]["@alice:hs"]["thread_id"], json!(root));
    assert_eq!(news[&outside]["m.read"]["@alice:hs"]["thread_id"], "main");

    for (event, thread) in [
        (&inside, json!("main")),
        (&reaction, json!("main")),
        (&outside, json!(root)),
        (&outside, json!("")),
        (&outside, json!("side")),
        (&outside, json!(7)),
        (&outside, Value::Null),
    ] {
        send(event, thread).await.refused(400, "M_INVALID_PARAM");
    }
    let path = format!("/v3/rooms/{room}/receipt/m.fully_read/{outside}");
    test.post("alice", &path, json!({"thread_id": "main"})).await.refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn receipts_are_refused_to_strangers_and_for_what_is_not_there() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.room("alice", json!({})).await;
    let event = test.say("alice", &room, "1").await;
    let path = format!("/v3/rooms/{room}/receipt/m.read/{event}");
    test.post("bob", &path, json!({})).await.refused(403, "M_FORBIDDEN");
    test.post("alice", &format!("/v3/rooms/{room}/receipt/m.read/$none"), json!({})).await.refused(404, "M_NOT_FOUND");
    test.post("alice", &format!("/v3/rooms/{room}/receipt/m.seen/{event}"), json!({}))
        .await
        .refused(400, "M_INVALID_PARAM");
    test.post("bob", &format!("/v3/rooms/{room}/read_markers"), json!({"m.read": event}))
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn read_markers_set_all_three_and_none_where_one_is_wrong() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let (one, two) = (test.say("bob", &room, "1").await, test.say("bob", &room, "2").await);
    let since = token(&test.sync("alice", None).await);
    let path = format!("/v3/rooms/{room}/read_markers");
    let marker = format!("/v3/user/@alice:hs/rooms/{room}/account_data/m.fully_read");
    test.post("alice", &path, json!({"m.fully_read": one, "m.read": "$none"})).await.refused(404, "M_NOT_FOUND");
    test.get("alice", &marker).await.refused(404, "M_NOT_FOUND");

    test.post("alice", &path, json!({"m.fully_read": one, "m.read": two, "m.read.private": two})).await.ok();
    let news = test.sync("alice", Some(&since)).await;
    let seen = ephemeral(&news, &room, "m.receipt");
    assert!(seen[&two]["m.read"].is_object() && seen[&two]["m.read.private"].is_object(), "{seen}");
    let data = &news["rooms"]["join"][&room]["account_data"]["events"];
    assert_eq!(*data, json!([{"type": "m.fully_read", "content": {"event_id": one}}]));

    test.post("alice", &format!("/v3/rooms/{room}/receipt/m.fully_read/{two}"), json!({})).await.ok();
    test.post("alice", &path, json!({"m.fully_read": one})).await.ok();
    assert_eq!(test.get("alice", &marker).await.ok(), json!({"event_id": two}), "the marker does not go back");
    test.post("alice", &path, json!({})).await.ok();
}

#[tokio::test]
async fn reading_takes_back_what_is_unread() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["bob", "alice"]).await;
    let unread = |sync: &Value| sync["rooms"]["join"][&room]["unread_notifications"]["notification_count"].clone();
    test.say("bob", &room, "1").await;
    let middle = test.say("bob", &room, "2").await;
    let last = test.say("bob", &room, "3").await;
    let first = test.sync("alice", None).await;
    assert_eq!(unread(&first), 3);
    test.post("alice", &format!("/v3/rooms/{room}/receipt/m.read.private/{middle}"), json!({})).await.ok();
    let second = test.sync("alice", Some(&token(&first))).await;
    assert_eq!(unread(&second), 1);
    test.post("alice", &format!("/v3/rooms/{room}/receipt/m.read/{last}"), json!({})).await.ok();
    assert_eq!(unread(&test.sync("alice", Some(&token(&second))).await), 0);
}

#[tokio::test]
async fn a_receipt_wakes_who_waits_for_it() {
    // Longer than a request may take, so that a sync that is not woken ends with an error; and without presence, which would
    // wake it too.
    let config = ClientApiConfig { max_sync_timeout_seconds: 1_000_000, presence: false, ..Default::default() };
    let test = std::sync::Arc::new(TestApp::with(config, &["alice", "bob"]).await);
    let room = test.public_room(&["alice", "bob"]).await;
    let event = test.say("bob", &room, "1").await;
    for kind in ["m.read.private", "m.read"] {
        let who = if kind == "m.read" { "bob" } else { "alice" };
        let since = token(&test.sync(who, None).await);
        let waiting = {
            let test = std::sync::Arc::clone(&test);
            let path = format!("/v3/sync?since={since}&timeout=900000000&set_presence=offline");
            tokio::spawn(async move { test.get(who, &path).await.ok() })
        };
        test.until_somebody_waits().await;
        test.post("alice", &format!("/v3/rooms/{room}/receipt/{kind}/{event}"), json!({})).await.ok();
        let seen = ephemeral(&waiting.await.unwrap(), &room, "m.receipt");
        assert!(seen[&event][kind].is_object(), "{seen}");
    }
}

#[tokio::test]
async fn typing_is_shown_stopped_and_runs_out() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let since = token(&test.sync("bob", None).await);
    let path = format!("/v3/rooms/{room}/typing/@alice:hs");
    test.put("alice", &path, json!({"typing": true, "timeout": 5000})).await.ok();
    let news = test.sync("bob", Some(&since)).await;
    assert_eq!(ephemeral(&news, &room, "m.typing"), json!({"user_ids": ["@alice:hs"]}));
    let again = test.sync("bob", Some(&token(&news))).await;
    assert_eq!(ephemeral(&again, &room, "m.typing"), json!(null));
    test.clock.advance(5001);
    let over = test.sync("bob", Some(&token(&again))).await;
    assert_eq!(ephemeral(&over, &room, "m.typing"), json!({"user_ids": []}));

    test.put("alice", &path, json!({"typing": true, "timeout": 999_999_999})).await.ok();
    test.clock.advance(120_001);
    let over = test.sync("bob", Some(&token(&over))).await;
    assert_eq!(ephemeral(&over, &room, "m.typing"), json!({"user_ids": []}), "nobody types for eleven days");
    test.put("alice", &path, json!({"typing": true, "timeout": 5000})).await.ok();
    test.put("alice", &path, json!({"typing": false})).await.ok();
    let over = test.sync("bob", Some(&token(&over))).await;
    assert_eq!(ephemeral(&over, &room, "m.typing"), json!({"user_ids": []}));

    test.put("bob", &path, json!({"typing": true})).await.refused(403, "M_FORBIDDEN");
    let carol = format!("/v3/rooms/{room}/typing/@carol:hs");
    test.put("carol", &carol, json!({"typing": true})).await.refused(403, "M_FORBIDDEN");
    test.put("carol", "/v3/rooms/!none:hs/typing/@carol:hs", json!({"typing": true})).await.refused(403, "M_FORBIDDEN");
    test.put("alice", &path, json!({})).await.refused(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn receipts_for_several_threads_on_one_event_are_all_told() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let root = test.say("bob", &room, "root").await;
    let content = json!({"body": "r", "m.relates_to": {"rel_type": "m.thread", "event_id": root}});
    test.send("bob", &room, "m.room.message", content).await;
    let since = token(&test.sync("bob", None).await);
    for thread in ["main", &root] {
        let body = json!({"thread_id": thread});
        test.post("alice", &format!("/v3/rooms/{room}/receipt/m.read/{root}"), body).await.ok();
    }
    let sync = test.sync("bob", Some(&since)).await;
    let events = sync["rooms"]["join"][&room]["ephemeral"]["events"].as_array().unwrap();
    let mut threads: Vec<&str> = events
        .iter()
        .filter_map(|event| event["content"][&root]["m.read"]["@alice:hs"]["thread_id"].as_str())
        .collect();
    threads.sort_unstable();
    assert_eq!(threads, [&root, "main"]);
}
