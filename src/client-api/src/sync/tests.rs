use serde_json::{Value, json};

use crate::testing::TestApp;

/// The room's part of a sync, with threads counted apart where asked for.
async fn joined(test: &TestApp, since: &str, room: &str, by_thread: bool) -> Value {
    let filter = if by_thread {
        "%7B%22room%22%3A%7B%22timeline%22%3A%7B%22unread_thread_notifications%22%3Atrue%7D%7D%7D"
    } else {
        "%7B%7D"
    };
    let path = format!("/v3/sync?since={since}&filter={filter}");
    test.get("bob", &path).await.ok()["rooms"]["join"][room].clone()
}

/// Notifications and highlights: of all, of the main timeline, and of one thread (`None` where it is not listed).
async fn counts(test: &TestApp, since: &str, room: &str, root: &str) -> [Option<(u64, u64)>; 3] {
    let pair = |counts: &Value| Some((counts["notification_count"].as_u64()?, counts["highlight_count"].as_u64()?));
    let all = joined(test, since, room, false).await;
    assert!(all["unread_thread_notifications"].is_null());
    let apart = joined(test, since, room, true).await;
    [
        pair(&all["unread_notifications"]),
        pair(&apart["unread_notifications"]),
        pair(&apart["unread_thread_notifications"][root]),
    ]
}

async fn token(test: &TestApp, who: &str) -> String {
    test.sync(who, None).await["next_batch"].as_str().unwrap().to_owned()
}

async fn read(test: &TestApp, room: &str, event: &str, thread: Option<&str>) {
    let body = thread.map_or_else(|| json!({}), |thread| json!({"thread_id": thread}));
    test.post("bob", &format!("/v3/rooms/{room}/receipt/m.read/{event}"), body).await.ok();
}

/// A message that mentions Bob.
fn mention(text: &str) -> Value {
    json!({"msgtype": "m.text", "body": text, "m.mentions": {"user_ids": ["@bob:hs"]}})
}

async fn threaded(test: &TestApp, room: &str, root: &str, mut content: Value) -> String {
    content["m.relates_to"] = json!({"rel_type": "m.thread", "event_id": root});
    test.send("alice", room, "m.room.message", content).await
}

#[tokio::test]
async fn receipts_of_a_thread_read_that_thread_and_nothing_else() {
    let test = TestApp::new(&["alice", "bob", "carol", "dave"]).await;
    let room = test.public_room(&["alice", "bob", "carol", "dave"]).await;
    let since = token(&test, "bob").await;
    let root = test.say("alice", &room, "root").await;
    let first = threaded(&test, &room, &root, json!({"msgtype": "m.text", "body": "one"})).await;
    let second = threaded(&test, &room, &root, mention("two")).await;
    let shout = test.send("alice", &room, "m.room.message", mention("hello")).await;
    threaded(&test, &room, &root, json!({"msgtype": "m.text", "body": "three"})).await;
    test.say("alice", &room, "last").await;
    assert_eq!(counts(&test, &since, &room, &root).await, [Some((6, 2)), Some((3, 1)), Some((3, 1))]);
    read(&test, &room, &root, Some("main")).await;
    assert_eq!(counts(&test, &since, &room, &root).await, [Some((5, 2)), Some((2, 1)), Some((3, 1))]);
    read(&test, &room, &first, Some(&root)).await;
    assert_eq!(counts(&test, &since, &room, &root).await, [Some((4, 2)), Some((2, 1)), Some((2, 1))]);
    read(&test, &room, &second, Some(&root)).await;
    assert_eq!(counts(&test, &since, &room, &root).await, [Some((3, 1)), Some((2, 1)), Some((1, 0))]);
    // Unthreaded: everything up to there, in all threads.
    read(&test, &room, &shout, None).await;
    assert_eq!(counts(&test, &since, &room, &root).await, [Some((2, 0)), Some((1, 0)), Some((1, 0))]);
    let last = threaded(&test, &room, &root, json!({"msgtype": "m.text", "body": "four"})).await;
    assert_eq!(counts(&test, &since, &room, &root).await, [Some((3, 0)), Some((1, 0)), Some((2, 0))]);
    read(&test, &room, &last, Some(&root)).await;
    assert_eq!(counts(&test, &since, &room, &root).await, [Some((1, 0)), Some((1, 0)), None]);
}

fn shown(sync: &Value) -> Vec<String> {
    let events = sync["presence"]["events"].as_array().cloned().unwrap_or_default();
    events.iter().map(|event| event["sender"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn who_meets_sees_each_others_presence_once() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.room("alice", json!({"preset": "public_chat"})).await;
    test.put("bob", "/v3/presence/@bob:hs/status", json!({"presence": "online", "status_msg": "here"})).await.ok();
    let (alice, bob) = (token(&test, "alice").await, token(&test, "bob").await);
    test.join("bob", &room).await.ok();
    let seen = test.sync("alice", Some(&alice)).await;
    assert_eq!(shown(&seen), ["@bob:hs"]);
    assert_eq!(seen["presence"]["events"][0]["content"]["status_msg"], "here");
    assert_eq!(shown(&test.sync("alice", seen["next_batch"].as_str()).await), Vec::<String>::new());
    let seen = test.sync("bob", Some(&bob)).await;
    assert!(shown(&seen).contains(&"@alice:hs".to_owned()), "{seen}");
    assert_eq!(shown(&test.sync("bob", seen["next_batch"].as_str()).await), Vec::<String>::new());
}

#[tokio::test]
async fn a_room_that_is_entered_starts_its_timeline() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.room("alice", json!({"preset": "public_chat"})).await;
    let since = token(&test, "bob").await;
    test.join("bob", &room).await.ok();
    let sync = test.sync("bob", Some(&since)).await;
    let timeline = &sync["rooms"]["join"][&room]["timeline"];
    assert_eq!(timeline["limited"], true);
    assert!(timeline["prev_batch"].is_string());
    let since = sync["next_batch"].as_str().unwrap().to_owned();
    test.say("alice", &room, "hi").await;
    let timeline = test.sync("bob", Some(&since)).await["rooms"]["join"][&room]["timeline"].clone();
    assert_eq!((timeline["limited"].clone(), timeline["events"].as_array().unwrap().len()), (json!(false), 1));
}
