//! What somebody can do whose account is suspended.

use http::Method;
use serde_json::{Value, json};

use crate::testing::TestApp;

async fn suspend(test: &TestApp, who: &str, suspended: bool) {
    let num = test.app.users.accounts.find(who).await.unwrap().unwrap().num;
    test.app.users.accounts.set_suspended(num, suspended).await.unwrap();
}

/// Bob is a moderator of a room of Alice's, and may enter two others.
async fn world() -> (TestApp, [String; 3]) {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.room("alice", json!({"preset": "public_chat", "room_version": "11"})).await;
    let levels = json!({"users": {"@alice:hs": 100, "@bob:hs": 50}});
    test.set("alice", &room, "m.room.power_levels", "", levels).await.ok();
    for who in ["bob", "carol"] {
        test.join(who, &room).await.ok();
    }
    let open = test.public_room(&["alice"]).await;
    let invited = test.room("alice", json!({"invite": ["@bob:hs"]})).await;
    (test, [room, open, invited])
}

#[tokio::test]
async fn who_is_suspended_says_and_changes_nothing() {
    let (test, [room, open, invited]) = world().await;
    let theirs = test.say("carol", &room, "hello").await;
    let at = |rest: &str| format!("/v3/rooms/{room}/{rest}");
    let (carol, message) = (json!({"user_id": "@carol:hs"}), json!({"msgtype": "m.text", "body": "x"}));
    let join_again = json!({"membership": "join", "displayname": "B"});
    let requests: Vec<(Method, String, Value)> = vec![
        (Method::PUT, at("send/m.room.message/1"), message),
        (Method::PUT, at("send/m.room.redaction/2"), json!({"redacts": theirs})),
        (Method::PUT, at(&format!("redact/{theirs}/3")), json!({})),
        (Method::PUT, at("state/m.room.topic/"), json!({"topic": "x"})),
        (Method::PUT, at("state/m.room.member/@bob:hs"), join_again),
        (Method::PUT, at("state/m.room.member/@carol:hs"), json!({"membership": "leave"})),
        (Method::POST, at("kick"), carol.clone()),
        (Method::POST, at("ban"), carol.clone()),
        (Method::POST, at("unban"), carol.clone()),
        (Method::POST, at("invite"), json!({"user_id": "@carol:hs"})),
        (Method::POST, at("upgrade"), json!({"new_version": "12"})),
        (Method::POST, format!("/v3/rooms/{open}/join"), json!({})),
        (Method::POST, format!("/v3/join/{invited}"), json!({})),
        (Method::POST, format!("/v3/knock/{open}"), json!({})),
        (Method::POST, "/v3/createRoom".to_owned(), json!({})),
        (Method::PUT, "/v3/profile/@bob:hs/displayname".to_owned(), json!({"displayname": "Bob"})),
        (Method::DELETE, "/v3/profile/@bob:hs/displayname".to_owned(), json!({})),
        (Method::PUT, "/v3/directory/room/%23name:hs".to_owned(), json!({"room_id": room})),
        (Method::PUT, format!("/v3/directory/list/room/{room}"), json!({"visibility": "public"})),
    ];
    suspend(&test, "bob", true).await;
    for (method, path, body) in &requests {
        let answer = test.request(method.clone(), "bob", path, Some(body.clone())).await;
        assert_eq!((answer.status, &answer.json["errcode"]), (403, &json!("M_USER_SUSPENDED")), "{method} {path}");
    }
    // It was that, and nothing else.
    suspend(&test, "bob", false).await;
    for (method, path, body) in requests.iter().take(3) {
        test.request(method.clone(), "bob", path, Some(body.clone())).await.ok();
    }
}

#[tokio::test]
async fn who_is_suspended_reads_leaves_and_takes_back() {
    let (test, [room, _, invited]) = world().await;
    let (own, other) = (test.say("bob", &room, "one").await, test.say("bob", &room, "two").await);
    suspend(&test, "bob", true).await;
    test.say("carol", &room, "hello").await;
    assert!(test.sync("bob", None).await["rooms"]["join"][&room].is_object());
    test.get("bob", &format!("/v3/rooms/{room}/messages?dir=b")).await.ok();
    test.put("bob", &format!("/v3/rooms/{room}/redact/{own}/1"), json!({})).await.ok();
    test.put("bob", &format!("/v3/rooms/{room}/send/m.room.redaction/2"), json!({"redacts": other})).await.ok();
    test.put("bob", "/v3/sendToDevice/m.key.verification.ready/3", json!({"messages": {}})).await.ok();
    test.put("bob", "/v3/user/@bob:hs/account_data/m.x", json!({})).await.ok();
    test.post("bob", &format!("/v3/rooms/{invited}/leave"), json!({})).await.ok();
    let leave = json!({"membership": "leave"});
    test.set("bob", &room, "m.room.member", "@bob:hs", leave.clone()).await.ok();
    assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await, leave);
}
