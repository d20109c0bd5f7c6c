use ruma::push::{Action, NewPushRule, NewSimplePushRule};
use serde_json::{Value, json};

use crate::testing::{Answer, TestApp};

async fn upgrade(test: &TestApp, who: &str, room: &str, body: Value) -> Answer {
    test.post(who, &format!("/v3/rooms/{room}/upgrade"), body).await
}

async fn upgraded(test: &TestApp, who: &str, room: &str, body: Value) -> String {
    upgrade(test, who, room, body).await.ok()["replacement_room"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_room_takes_over() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let body = json!({
        "room_version": "10", "visibility": "public", "room_alias_name": "pub", "name": "Pub", "topic": "Beer",
        "creation_content": {"type": "org.example.kind", "m.federate": false, "other": 1},
        "initial_state": [
            {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}},
            {"type": "m.room.avatar", "content": {"url": "mxc://hs/a"}},
            {"type": "m.room.server_acl", "content": {"allow": ["*"]}},
            {"type": "org.example.private", "content": {"x": 1}},
        ],
    });
    let old = test.room("alice", body).await;
    test.join("bob", &old).await.ok();
    let last = test.say("bob", &old, "last").await;
    let new = upgraded(&test, "alice", &old, json!({"new_version": "11"})).await;
    assert_ne!(old, new);

    let create = test.state(&new, "m.room.create", "").await;
    let wanted = json!({
        "room_version": "11", "type": "org.example.kind", "m.federate": false,
        "predecessor": {"room_id": old, "event_id": last},
    });
    assert_eq!(create, wanted);
    for kind in [
        "m.room.name",
        "m.room.topic",
        "m.room.avatar",
        "m.room.encryption",
        "m.room.server_acl",
        "m.room.join_rules",
        "m.room.history_visibility",
    ] {
        let copy = test.state(&new, kind, "").await;
        assert!(copy.is_object(), "{kind}");
        assert_eq!(copy, test.state(&old, kind, "").await, "{kind}");
    }
    assert_eq!(test.state(&new, "m.room.power_levels", "").await["users"], json!({"@alice:hs": 100}));
    assert_eq!(test.state(&new, "org.example.private", "").await, Value::Null);
    assert_eq!(test.state(&new, "m.room.member", "@bob:hs").await, Value::Null);

    let tombstone = test.state(&old, "m.room.tombstone", "").await;
    assert_eq!(tombstone["replacement_room"], new);
    assert!(tombstone["body"].is_string());
    let levels = test.state(&old, "m.room.power_levels", "").await;
    assert_eq!((&levels["events_default"], &levels["invite"]), (&json!(50), &json!(50)));
    let say = format!("/v3/rooms/{old}/send/m.room.message/t");
    test.put("bob", &say, json!({"body": "x"})).await.refused(403, "M_FORBIDDEN");

    assert_eq!(test.app.engine.alias("#pub:hs").await.unwrap().unwrap().room_id, new);
    assert_eq!(test.state(&new, "m.room.canonical_alias", "").await, json!({"alias": "#pub:hs"}));
    assert_eq!(test.state(&old, "m.room.canonical_alias", "").await, json!({}));
    let num = async |room: &str| test.app.engine.room(room.try_into().unwrap()).await.unwrap().num;
    assert!(test.app.engine.is_public(num(&new).await).await.unwrap());
    assert!(!test.app.engine.is_public(num(&old).await).await.unwrap());
    assert_eq!(test.app.engine.aliases_of(num(&new).await).await.unwrap(), ["#pub:hs"]);
    assert!(test.app.engine.aliases_of(num(&old).await).await.unwrap().is_empty());
    test.post("bob", "/v3/join/%23pub:hs", json!({})).await.ok();
    assert_eq!(test.state(&new, "m.room.member", "@bob:hs").await["membership"], "join");
}

#[tokio::test]
async fn upgrades_need_power_and_a_version() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    upgrade(&test, "bob", &room, json!({"new_version": "12"})).await.refused(403, "M_FORBIDDEN");
    upgrade(&test, "carol", &room, json!({"new_version": "12"})).await.refused(403, "M_FORBIDDEN");
    upgrade(&test, "alice", "!nothing:hs", json!({"new_version": "12"})).await.refused(403, "M_FORBIDDEN");
    upgrade(&test, "alice", &room, json!({"new_version": "77"})).await.refused(400, "M_UNSUPPORTED_ROOM_VERSION");
    let answer = upgrade(&test, "alice", &room, json!({})).await;
    assert_eq!(answer.status, 400);
    let bad = json!({"new_version": "12", "additional_creators": ["@bob:dom$ain$.com"]});
    assert_eq!(upgrade(&test, "alice", &room, bad).await.status, 400);
    assert_eq!(test.state(&room, "m.room.tombstone", "").await, Value::Null);
    assert_eq!(test.get("alice", "/v3/joined_rooms").await.ok()["joined_rooms"].as_array().unwrap().len(), 1);
    test.post("alice", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    upgrade(&test, "alice", &room, json!({"new_version": "12"})).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn creators_and_levels_of_version_12() {
    struct Case {
        from: &'static str,
        levels: Value,
        by: &'static str,
        creators: Value,
        users: Value,
    }
    let case = |from, levels, by, creators, users| Case { from, levels, by, creators, users };
    let cases = [
        case("11", json!({"@bob:hs": 100}), "bob", json!([]), json!({})),
        case("11", json!({"@bob:hs": 100, "@carol:hs": 100}), "bob", json!([]), json!({"@carol:hs": 100})),
        case("12", json!({"@bob:hs": 150}), "bob", json!(["@carol:hs"]), json!({})),
        case("12", json!({"@bob:hs": 150, "@carol:hs": 50}), "bob", json!(["@carol:hs"]), json!({})),
        case("11", json!({"@alice:hs": 100, "@bob:hs": 100}), "alice", json!(["@bob:hs"]), json!({})),
        case(
            "11",
            json!({"@alice:hs": 100, "@bob:hs": 100, "@carol:hs": 50}),
            "alice",
            json!(["@bob:hs"]),
            json!({"@carol:hs": 50}),
        ),
    ];
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    for Case { from, levels, by, creators, users } in cases {
        let old = test.room("alice", json!({"room_version": from, "preset": "public_chat"})).await;
        test.join("bob", &old).await.ok();
        test.set("alice", &old, "m.room.power_levels", "", json!({"users": levels})).await.ok();
        let new = upgraded(&test, by, &old, json!({"new_version": "12", "additional_creators": creators})).await;
        let create = test.state(&new, "m.room.create", "").await;
        match creators.as_array().unwrap().is_empty() {
            true => assert!(create.get("additional_creators").is_none()),
            false => assert_eq!(create["additional_creators"], creators),
        }
        let new_levels = test.state(&new, "m.room.power_levels", "").await;
        assert_eq!(new_levels["users"], users, "{from} {by} {levels}");
        if from == "11" {
            assert_eq!(new_levels["events"]["m.room.tombstone"], 150);
        }
    }
}

#[tokio::test]
async fn back_from_version_12_creators_get_levels() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let body = json!({"room_version": "12", "creation_content": {"additional_creators": ["@bob:hs"]}, "name": "x"});
    let old = test.room("alice", body).await;
    // Old versions have no additional creators: the field is left out.
    let new = upgraded(&test, "alice", &old, json!({"new_version": "10", "additional_creators": ["@bob:hs"]})).await;
    let create = test.state(&new, "m.room.create", "").await;
    assert_eq!(create["creator"], "@alice:hs");
    assert!(create.get("additional_creators").is_none());
    let levels = test.state(&new, "m.room.power_levels", "").await;
    assert_eq!(levels["users"], json!({"@alice:hs": 150, "@bob:hs": 150}));
    assert_eq!(test.state(&new, "m.room.name", "").await, json!({"name": "x"}));
}

#[tokio::test]
async fn who_may_only_upgrade_gains_no_power_by_it() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let levels =
        json!({"users": {"@alice:hs": 100, "@bob:hs": 10}, "events": {"m.room.tombstone": 10, "m.room.name": 60}});
    let body =
        json!({"room_version": "10", "preset": "public_chat", "name": "x", "power_level_content_override": levels});
    let old = test.room("alice", body).await;
    test.join("bob", &old).await.ok();
    let new = upgraded(&test, "bob", &old, json!({"new_version": "11"})).await;
    assert_eq!(test.state(&new, "m.room.power_levels", "").await["users"], levels["users"]);
    assert_eq!(test.state(&new, "m.room.name", "").await, json!({"name": "x"}));
    // They cannot change the old room's levels: it has its tombstone all the same.
    assert_eq!(test.state(&old, "m.room.tombstone", "").await["replacement_room"], new);
    assert_eq!(test.state(&old, "m.room.power_levels", "").await["users"], levels["users"]);
}

#[tokio::test]
async fn levels_that_are_texts_become_numbers() {
    let test = TestApp::new(&["alice"]).await;
    let levels = json!({"ban": "60", "users": {"@alice:hs": "100", "@bob:hs": 20}, "events_default": "1"});
    let old = test.room("alice", json!({"room_version": "9", "power_level_content_override": levels})).await;
    let new = upgraded(&test, "alice", &old, json!({"new_version": "11"})).await;
    let copied = test.state(&new, "m.room.power_levels", "").await;
    assert_eq!((&copied["ban"], &copied["events_default"]), (&json!(60), &json!(1)));
    assert_eq!(copied["users"], json!({"@alice:hs": 100, "@bob:hs": 20}));
}

#[tokio::test]
async fn spaces_keep_their_rooms() {
    let test = TestApp::new(&["alice"]).await;
    let old = test.room("alice", json!({"creation_content": {"type": "m.space"}})).await;
    test.set("alice", &old, "m.space.child", "!a:hs", json!({"via": ["hs"]})).await.ok();
    test.set("alice", &old, "m.space.child", "!b:hs", json!({})).await.ok();
    let new = upgraded(&test, "alice", &old, json!({"new_version": "12"})).await;
    assert_eq!(test.state(&new, "m.space.child", "!a:hs").await, json!({"via": ["hs"]}));
    assert_eq!(test.state(&new, "m.space.child", "!b:hs").await, Value::Null);
}

#[tokio::test]
async fn settings_follow_their_users() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let old = test.public_room(&["alice", "bob"]).await;
    let num = async |who: &str| test.app.users.accounts.find(who).await.unwrap().unwrap().num;
    let room_id: ruma::OwnedRoomId = old.as_str().try_into().unwrap();
    for who in ["alice", "bob", "carol"] {
        let rule = NewPushRule::Room(NewSimplePushRule::new(room_id.clone(), vec![Action::Notify]));
        test.app.users.push_rules.put(num(who).await, rule, None, None).await.unwrap();
        test.app.users.account_data.set_tag(num(who).await, &room_id, "m.favourite", Default::default()).await.unwrap();
    }
    let direct = serde_json::value::to_raw_value(&json!({"@alice:hs": [old]})).unwrap();
    test.app.users.account_data.set(num("bob").await, None, "m.direct", &direct).await.unwrap();
    let new = upgraded(&test, "alice", &old, json!({"new_version": "12"})).await;
    let new_id: ruma::OwnedRoomId = new.as_str().try_into().unwrap();
    for (who, wanted) in [("alice", true), ("bob", true), ("carol", false)] {
        test.join(who, &new).await.ok();
        let rules = test.app.users.push_rules.get(num(who).await).await.unwrap();
        assert_eq!(rules.room.iter().any(|rule| rule.rule_id == new_id), wanted, "{who}");
        let tags = test.app.users.account_data.tags(num(who).await, &new_id).await.unwrap();
        assert_eq!(tags.contains_key("m.favourite"), wanted, "{who}");
    }
    let direct = test.app.users.account_data.get(num("bob").await, None, "m.direct").await.unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(direct.get()).unwrap(), json!({"@alice:hs": [old, new]}));
}
