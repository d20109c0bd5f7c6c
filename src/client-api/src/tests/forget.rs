use serde_json::json;

use crate::testing::{Answer, TestApp};

async fn act(test: &TestApp, who: &str, room: &str, what: &str) -> Answer {
    test.post(who, &format!("/v3/rooms/{room}/{what}"), json!({})).await
}

const WITH_LEFT: &str = "/v3/sync?filter=%7B%22room%22:%7B%22include_leave%22:true%7D%7D";

#[tokio::test]
async fn only_rooms_that_were_left_are_forgotten() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.room("alice", json!({"invite": ["@bob:hs"]})).await;
    act(&test, "alice", &room, "forget").await.refused(400, "M_UNKNOWN");
    act(&test, "bob", &room, "forget").await.refused(400, "M_UNKNOWN");
    act(&test, "bob", &room, "leave").await.ok();
    assert_eq!(act(&test, "bob", &room, "forget").await.ok(), json!({}));
    act(&test, "bob", &room, "forget").await.ok();
    act(&test, "bob", "!nothing:hs", "forget").await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn forgotten_rooms_are_gone_until_one_comes_back() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    test.say("alice", &room, "before").await;
    let since = test.sync("bob", None).await["next_batch"].as_str().unwrap().to_owned();
    act(&test, "bob", &room, "leave").await.ok();
    assert!(test.get("bob", WITH_LEFT).await.ok()["rooms"]["leave"][&room].is_object());
    act(&test, "bob", &room, "forget").await.ok();
    let shown = test.get("bob", WITH_LEFT).await.ok();
    assert!(shown["rooms"]["leave"].get(&room).is_none(), "{shown}");
    // Other devices have yet to hear that the room was left.
    assert!(test.sync("bob", Some(&since)).await["rooms"]["leave"][&room].is_object());
    for path in ["messages?dir=b", "messages", "state", "members", "state/m.room.create", "threads"] {
        let version = if path == "threads" { "v1" } else { "v3" };
        test.get("bob", &format!("/{version}/rooms/{room}/{path}")).await.refused(403, "M_FORBIDDEN");
    }
    test.join("bob", &room).await.ok();
    let page = test.get("bob", &format!("/v3/rooms/{room}/messages?dir=b&limit=50")).await.ok();
    assert!(page["chunk"].as_array().unwrap().iter().any(|event| event["content"]["body"] == "before"));
}

#[tokio::test]
async fn a_new_invitation_ends_forgetting() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.room("alice", json!({"invite": ["@bob:hs"]})).await;
    act(&test, "bob", &room, "leave").await.ok();
    act(&test, "bob", &room, "forget").await.ok();
    test.post("alice", &format!("/v3/rooms/{room}/invite"), json!({"user_id": "@bob:hs"})).await.ok();
    assert!(test.sync("bob", None).await["rooms"]["invite"][&room].is_object());
}

#[tokio::test]
async fn a_ban_is_shown_to_devices_that_begin_and_a_leave_is_not() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let (left, banned) = (test.public_room(&["alice", "bob"]).await, test.public_room(&["alice", "bob"]).await);
    act(&test, "bob", &left, "leave").await.ok();
    test.post("alice", &format!("/v3/rooms/{banned}/ban"), json!({"user_id": "@bob:hs"})).await.ok();
    let shown = test.sync("bob", None).await["rooms"]["leave"].clone();
    assert!(shown.get(&left).is_none(), "{shown}");
    let timeline = shown[&banned]["timeline"]["events"].as_array().unwrap();
    assert_eq!(timeline.last().unwrap()["content"]["membership"], "ban");
}
