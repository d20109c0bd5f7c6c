use serde_json::{Value, json};

use crate::testing::TestApp;

fn names(state: &Value) -> Vec<String> {
    let name = |event: &Value| event["content"]["name"].as_str().map(str::to_owned);
    state.as_array().unwrap().iter().filter_map(name).collect()
}

#[tokio::test]
async fn state_is_written_and_read_with_and_without_a_key() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let path = |rest: &str| format!("/v3/rooms/{room}/state{rest}");
    let sent = test.put("alice", &path("/m.room.name"), json!({"name": "one"})).await.ok();
    assert!(sent["event_id"].as_str().unwrap().starts_with('$'));
    assert_eq!(test.get("bob", &path("/m.room.name")).await.ok(), json!({"name": "one"}));
    test.put("alice", &path("/m.room.name/"), json!({"name": "two"})).await.ok();
    assert_eq!(test.get("bob", &path("/m.room.name/")).await.ok(), json!({"name": "two"}));
    test.put("alice", &format!("/r0/rooms/{room}/state/m.room.name"), json!({"name": "three"})).await.ok();
    assert_eq!(test.get("bob", &format!("/r0/rooms/{room}/state/m.room.name")).await.ok(), json!({"name": "three"}));
    test.put("alice", &path("/org.example.x/a%2Fb"), json!({"y": 1})).await.ok();
    assert_eq!(test.get("bob", &path("/org.example.x/a%2Fb")).await.ok(), json!({"y": 1}));
    let event = test.get("bob", &path("/m.room.member/@bob:hs?format=event")).await.ok();
    assert_eq!((&event["sender"], &event["room_id"]), (&json!("@bob:hs"), &json!(room)));
    assert_eq!(event["content"]["membership"], "join");
    test.get("bob", &path("/m.room.topic")).await.refused(404, "M_NOT_FOUND");
    test.get("bob", &path("/org.example.x")).await.refused(404, "M_NOT_FOUND");
    let all = test.get("bob", &path("")).await.ok();
    assert_eq!(names(&all), ["three"]);
    assert!(
        all.as_array().unwrap().iter().all(|event| event["room_id"] == room.as_str() && event["event_id"].is_string())
    );
}

#[tokio::test]
async fn strangers_read_nothing_and_write_nothing() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.room("alice", json!({"invite": ["@carol:hs"]})).await;
    for who in ["bob", "carol"] {
        for path in ["/state", "/state/m.room.create", "/state/m.room.name"] {
            test.get(who, &format!("/v3/rooms/{room}{path}")).await.refused(403, "M_FORBIDDEN");
        }
        test.set(who, &room, "m.room.name", "", json!({"name": "x"})).await.refused(403, "M_FORBIDDEN");
    }
    test.get("bob", "/v3/rooms/!nothing:hs/state").await.refused(403, "M_FORBIDDEN");
    test.get("", &format!("/v3/rooms/{room}/state")).await.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn who_left_sees_the_state_of_then() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    test.set("alice", &room, "m.room.name", "", json!({"name": "then"})).await.ok();
    test.post("bob", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    test.set("alice", &room, "m.room.name", "", json!({"name": "later"})).await.ok();
    test.set("alice", &room, "m.room.topic", "", json!({"topic": "later"})).await.ok();
    let path = |rest: &str| format!("/v3/rooms/{room}/state{rest}");
    let check = async || {
        assert_eq!(names(&test.get("bob", &path("")).await.ok()), ["then"]);
        assert_eq!(test.get("bob", &path("/m.room.name")).await.ok()["name"], "then");
        test.get("bob", &path("/m.room.topic")).await.refused(404, "M_NOT_FOUND");
        assert_eq!(test.get("bob", &path("/m.room.member/@bob:hs")).await.ok()["membership"], "leave");
    };
    check().await;
    // A later ban or invitation shows no more of the room.
    test.post("alice", &format!("/v3/rooms/{room}/invite"), json!({"user_id": "@bob:hs"})).await.ok();
    check().await;
    test.post("alice", &format!("/v3/rooms/{room}/ban"), json!({"user_id": "@bob:hs"})).await.ok();
    check().await;
}

#[tokio::test]
async fn the_world_reads_what_it_may() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice"]).await;
    let visibility = json!({"history_visibility": "world_readable"});
    let hidden = test.say("alice", &room, "hidden").await;
    test.set("alice", &room, "m.room.history_visibility", "", visibility).await.ok();
    let shown = test.say("alice", &room, "shown").await;
    assert_eq!(test.get("bob", &format!("/v3/rooms/{room}/state/m.room.create")).await.ok()["room_version"], "12");
    assert_eq!(test.get("bob", &format!("/v3/rooms/{room}/event/{shown}")).await.ok()["content"]["body"], "shown");
    test.get("bob", &format!("/v3/rooms/{room}/event/{hidden}")).await.refused(404, "M_NOT_FOUND");
    let page = test.get("bob", &format!("/v3/rooms/{room}/messages?dir=b&limit=100")).await.ok();
    let bodies: Vec<_> =
        page["chunk"].as_array().unwrap().iter().filter_map(|event| event["content"]["body"].as_str()).collect();
    assert_eq!(bodies, ["shown"]);
}

#[tokio::test]
async fn some_state_cannot_be_sent() {
    let test = TestApp::new(&["alice", "bob"]).await;
    for version in ["11", "12"] {
        let room = test.room("alice", json!({"room_version": version, "preset": "public_chat"})).await;
        test.join("bob", &room).await.ok();
        let create = json!({"room_version": version, "entropy": 100});
        test.set("alice", &room, "m.room.create", "", create).await.refused(400, "M_BAD_STATE");
        let levels = json!({"users": {"@bob:hs": 9_007_199_254_740_992_u64}});
        test.set("alice", &room, "m.room.power_levels", "", levels).await.refused(400, "M_BAD_JSON");
        test.set("bob", &room, "m.room.name", "", json!({"name": "x"})).await.refused(403, "M_FORBIDDEN");
        let alias = json!({"alias": "#nothing:hs"});
        test.set("alice", &room, "m.room.canonical_alias", "", alias).await.refused(400, "M_BAD_ALIAS");
        test.set("alice", &room, "m.room.canonical_alias", "", json!({"alias": 4}))
            .await
            .refused(400, "M_INVALID_PARAM");
    }
}
