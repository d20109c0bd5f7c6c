use serde_json::{Value, json};

use crate::testing::TestApp;

/// Types and state keys of a room's events in order, as its creator sees them.
async fn order(test: &TestApp, who: &str, room: &str) -> Vec<String> {
    let page = test.get(who, &format!("/v3/rooms/{room}/messages?dir=f&limit=100")).await.ok();
    let name = |event: &Value| {
        format!("{} {}", event["type"].as_str().unwrap(), event["state_key"].as_str().unwrap()).trim_end().to_owned()
    };
    page["chunk"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn first_events_come_in_the_specified_order() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let body = json!({
        "visibility": "public",
        "room_alias_name": "pub",
        "name": "The Pub",
        "topic": "Happy hour",
        "invite": ["@bob:hs", "@bob:hs"],
        "is_direct": true,
        "initial_state": [
            {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
            {"type": "org.example.x", "state_key": "k", "content": {"y": 1}},
        ],
    });
    let room = test.room("alice", body).await;
    let wanted = [
        "m.room.create",
        "m.room.member @alice:hs",
        "m.room.power_levels",
        "m.room.canonical_alias",
        "m.room.join_rules",
        "m.room.history_visibility",
        "m.room.guest_access",
        "org.example.x k",
        "m.room.name",
        "m.room.topic",
        "m.room.member @bob:hs",
    ];
    assert_eq!(order(&test, "alice", &room).await, wanted);
    assert_eq!(test.state(&room, "m.room.join_rules", "").await["join_rule"], "public");
    assert_eq!(test.state(&room, "m.room.canonical_alias", "").await["alias"], "#pub:hs");
    assert_eq!(test.state(&room, "m.room.create", "").await["room_version"], "12");
    let invitation = test.state(&room, "m.room.member", "@bob:hs").await;
    assert_eq!(invitation, json!({"membership": "invite", "is_direct": true}));
    let num = test.app.engine.room(room.as_str().try_into().unwrap()).await.unwrap().num;
    assert!(test.app.engine.is_public(num).await.unwrap());
}
