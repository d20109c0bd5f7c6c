use ruma::{EventId, RoomId};
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

#[tokio::test]
async fn presets_set_rules_guests_and_power() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let cases = [
        (json!({}), "invite", Some("can_join"), 0),
        (json!({"visibility": "private"}), "invite", Some("can_join"), 0),
        (json!({"visibility": "public"}), "public", None, 50),
        (json!({"preset": "private_chat", "visibility": "public"}), "invite", Some("can_join"), 0),
        (json!({"preset": "public_chat"}), "public", None, 50),
        (json!({"preset": "trusted_private_chat"}), "invite", Some("can_join"), 0),
    ];
    for (body, rule, guests, invite) in cases {
        let room = test.room("alice", body.clone()).await;
        assert_eq!(test.state(&room, "m.room.join_rules", "").await["join_rule"], rule, "{body}");
        assert_eq!(test.state(&room, "m.room.guest_access", "").await["guest_access"], json!(guests), "{body}");
        assert_eq!(test.state(&room, "m.room.history_visibility", "").await["history_visibility"], "shared");
        assert_eq!(test.state(&room, "m.room.power_levels", "").await["invite"], invite, "{body}");
    }
    let trusted = json!({"preset": "trusted_private_chat", "invite": ["@bob:hs"], "room_version": "11"});
    let room = test.room("alice", trusted).await;
    let levels = test.state(&room, "m.room.power_levels", "").await;
    assert_eq!(levels["users"], json!({"@alice:hs": 100, "@bob:hs": 100}));
    test.post("alice", "/v3/createRoom", json!({"preset": "wild"})).await.refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn version_12_rooms_are_named_by_their_create_event() {
    let test = TestApp::new(&["alice"]).await;
    let room = test.room("alice", json!({"room_version": "12"})).await;
    let event = test.get("alice", &format!("/v3/rooms/{room}/state/m.room.create?format=event")).await.ok();
    assert_eq!(room.trim_start_matches('!'), event["event_id"].as_str().unwrap().trim_start_matches('$'));
    assert_eq!(event["room_id"], room);
    let older = test.room("alice", json!({"room_version": "10"})).await;
    assert_eq!(RoomId::parse(&older).unwrap().server_name().unwrap(), "hs");
    assert_eq!(test.state(&older, "m.room.create", "").await["creator"], "@alice:hs");
}

#[tokio::test]
async fn creators_of_version_12_have_no_level() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let body = json!({
        "room_version": "12",
        "preset": "trusted_private_chat",
        "invite": ["@bob:hs", "@carol:hs"],
        "creation_content": {"additional_creators": ["@bob:hs", "@dave:elsewhere"], "room_version": "1", "x": 1},
    });
    let room = test.room("alice", body).await;
    let create = test.state(&room, "m.room.create", "").await;
    let wanted = json!({
        "additional_creators": ["@bob:hs", "@dave:elsewhere", "@carol:hs"], "room_version": "12", "x": 1,
    });
    assert_eq!(create, wanted);
    let levels = test.state(&room, "m.room.power_levels", "").await;
    assert_eq!(levels["users"], json!({}));
    assert_eq!(levels["events"]["m.room.tombstone"], 150);
    for users in [json!({"@alice:hs": 100}), json!({"@bob:hs": 100})] {
        let body = json!({
            "power_level_content_override": {"users": users},
            "creation_content": {"additional_creators": ["@bob:hs"]},
        });
        test.post("alice", "/v3/createRoom", body).await.refused(400, "M_INVALID_ROOM_STATE");
        test.set("alice", &room, "m.room.power_levels", "", json!({"users": users})).await.refused(400, "M_BAD_JSON");
    }
    for bad in [json!("@bob:hs"), json!(["@bob:hs", 4]), json!(["bob"]), json!(["@bob:dom$ain$.com"])] {
        let body = json!({"creation_content": {"additional_creators": bad}});
        let answer = test.post("alice", "/v3/createRoom", body).await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.json);
    }
}

#[tokio::test]
async fn power_levels_are_overridden_key_by_key() {
    let test = TestApp::new(&["alice"]).await;
    let body = json!({"room_version": "11", "power_level_content_override": {"events_default": 50, "x": 7}});
    let room = test.room("alice", body).await;
    let levels = test.state(&room, "m.room.power_levels", "").await;
    assert_eq!((&levels["events_default"], &levels["x"]), (&json!(50), &json!(7)));
    assert_eq!(levels["users"]["@alice:hs"], 100);
    // Without power its creator cannot name the room: nothing of it remains.
    let body = json!({"room_version": "11", "name": "x", "power_level_content_override": {"users": {}}});
    test.post("alice", "/v3/createRoom", body).await.refused(400, "M_INVALID_ROOM_STATE");
    assert_eq!(test.get("alice", "/v3/joined_rooms").await.ok(), json!({"joined_rooms": [room]}));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let test = TestApp::new(&["alice", "bob"]).await;
    test.room("alice", json!({"room_alias_name": "taken"})).await;
    let cases = [
        (json!({"room_alias_name": "taken"}), 400, "M_ROOM_IN_USE"),
        (json!({"room_alias_name": "a:b"}), 400, "M_INVALID_PARAM"),
        (json!({"room_alias_name": "a b"}), 400, "M_INVALID_PARAM"),
        (json!({"room_alias_name": ""}), 400, "M_INVALID_PARAM"),
        (json!({"room_alias_name": "x".repeat(300)}), 400, "M_INVALID_PARAM"),
        (json!({"room_version": "ahfgwjyerhgiuveisbruvybseyrugvi"}), 400, "M_UNSUPPORTED_ROOM_VERSION"),
        (json!({"room_version": 1}), 400, "M_BAD_JSON"),
        (json!({"creation_content": "blah"}), 400, "M_BAD_JSON"),
        (json!({"power_level_content_override": []}), 400, "M_BAD_JSON"),
        (json!({"initial_state": {}}), 400, "M_BAD_JSON"),
        (json!({"initial_state": [{"type": "m.room.x"}]}), 400, "M_BAD_JSON"),
        (json!({"initial_state": [{"type": "m.room.x", "content": 4}]}), 400, "M_BAD_JSON"),
        (json!({"initial_state": [{"type": "m.room.x", "content": {"a": 1.5}}]}), 400, "M_BAD_JSON"),
        (json!({"initial_state": [{"type": "m.room.create", "content": {}}]}), 400, "M_INVALID_ROOM_STATE"),
        (json!({"name": "x".repeat(70_000)}), 413, "M_TOO_LARGE"),
        (json!({"name": 4}), 400, "M_BAD_JSON"),
        (json!({"invite": ["bob"]}), 400, "M_BAD_JSON"),
        (json!({"invite": ["@bob:elsewhere"]}), 403, "M_FORBIDDEN"),
        (
            json!({"invite_3pid": [{"id_server": "x", "id_access_token": "y", "medium": "email", "address": "a@b"}]}),
            403,
            "M_THREEPID_DENIED",
        ),
    ];
    for (body, status, code) in cases {
        let answer = test.post("alice", "/v3/createRoom", body.clone()).await;
        assert_eq!((answer.status, answer.json["errcode"].as_str()), (status, Some(code)), "{body}: {}", answer.json);
    }
    let many: Vec<String> = (0..201).map(|n| format!("@u{n}:hs")).collect();
    test.post("alice", "/v3/createRoom", json!({"invite": many})).await.refused(400, "M_INVALID_PARAM");
    let many: Vec<Value> = (0..501).map(|n| json!({"type": format!("t{n}"), "content": {}})).collect();
    test.post("alice", "/v3/createRoom", json!({"initial_state": many})).await.refused(400, "M_INVALID_PARAM");
    assert_eq!(test.get("alice", "/v3/joined_rooms").await.ok()["joined_rooms"].as_array().unwrap().len(), 1);
    test.post("", "/v3/createRoom", json!({})).await.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn two_who_want_one_alias_get_one_room() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let body = || json!({"room_alias_name": "one"});
    let (one, two) =
        tokio::join!(test.post("alice", "/v3/createRoom", body()), test.post("bob", "/v3/createRoom", body()));
    let mut answers = [one, two];
    answers.sort_by_key(|answer| answer.status);
    let [made, refused] = answers;
    let room = made.ok()["room_id"].clone();
    refused.refused(400, "M_ROOM_IN_USE");
    assert_eq!(test.app.engine.alias("#one:hs").await.unwrap().unwrap().room_id, room.as_str().unwrap());
}

#[tokio::test]
async fn names_of_profiles_go_into_memberships() {
    let test = TestApp::new(&["alice", "bob"]).await;
    for (who, name) in [("alice", "Alice"), ("bob", "Bob")] {
        let user = test.app.users.accounts.find(who).await.unwrap().unwrap().num;
        let name = serde_json::value::to_raw_value(name).unwrap();
        test.app.users.profiles.set(user, "displayname", &name).await.unwrap();
    }
    let room = test.room("alice", json!({"invite": ["@bob:hs"]})).await;
    assert_eq!(test.state(&room, "m.room.member", "@alice:hs").await["displayname"], "Alice");
    assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await["displayname"], "Bob");
    test.join("bob", &room).await.ok();
    assert_eq!(
        test.state(&room, "m.room.member", "@bob:hs").await,
        json!({"membership": "join", "displayname": "Bob"})
    );
}

#[tokio::test]
async fn the_directory_can_be_closed() {
    let config = crate::ClientApiConfig { allow_public_rooms: false, ..Default::default() };
    let test = TestApp::with(config, &["alice"]).await;
    test.post("alice", "/v3/createRoom", json!({"visibility": "public"})).await.refused(403, "M_FORBIDDEN");
    test.room("alice", json!({"preset": "public_chat"})).await;
}

#[tokio::test]
async fn the_default_version_is_the_operators() {
    let config = crate::ClientApiConfig { default_room_version: ruma::RoomVersionId::V10, ..Default::default() };
    let test = TestApp::with(config, &["alice"]).await;
    let room = test.room("alice", json!({})).await;
    assert_eq!(test.state(&room, "m.room.create", "").await["room_version"], "10");
    let sent = test.say("alice", &room, "hello").await;
    assert!(EventId::parse(&sent).is_ok());
}
