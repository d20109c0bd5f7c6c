//! What users do counts, each thing in its group.

use std::sync::Arc;

use http_kit::{LimitConfig, RateConfig};
use serde_json::json;

use crate::{ClientApiConfig, NoOtherServers, NoRemoteRooms, testing::TestApp};

/// Users who may do everything twice in a minute, and rooms and their names as usual.
async fn server() -> TestApp {
    let few = LimitConfig::new(1.0 / 60.0, 2);
    let config = RateConfig {
        messages: few,
        joins: few,
        invites: few,
        profile: few,
        search: few,
        pushers: few,
        reports: few,
        ..RateConfig::default()
    };
    let names = ["alice", "bob", "carol", "dave"];
    TestApp::limited(config, ClientApiConfig::default(), Arc::new(NoRemoteRooms), Arc::new(NoOtherServers), &names)
        .await
}

#[tokio::test]
async fn messages_count_whichever_way_they_are_sent_and_time_heals() {
    let test = server().await;
    let room = test.room("alice", json!({})).await;
    test.say("alice", &room, "one").await;
    test.set("alice", &room, "m.room.topic", "", json!({"topic": "two"})).await.ok();
    let three = test.put("alice", &format!("/v3/rooms/{room}/send/m.room.message/t"), json!({"body": "three"})).await;
    assert_eq!(three.refused(429, "M_LIMIT_EXCEEDED")["retry_after_ms"], 60_000);
    test.set("alice", &room, "m.room.topic", "", json!({"topic": "three"})).await.refused(429, "M_LIMIT_EXCEEDED");
    // Reading is free, and so is everybody else.
    test.sync("alice", None).await;
    let other = test.room("bob", json!({})).await;
    test.say("bob", &other, "hello").await;
    test.clock.advance(60_000);
    test.say("alice", &room, "three").await;
}

#[tokio::test]
async fn every_group_has_its_own_count() {
    let test = server().await;
    let rooms = [test.public_room(&["bob"]).await, test.public_room(&["bob"]).await, test.public_room(&["bob"]).await];
    test.join("alice", &rooms[0]).await.ok();
    test.post("alice", &format!("/v3/join/{}", rooms[1]), json!({})).await.ok();
    test.join("alice", &rooms[2]).await.refused(429, "M_LIMIT_EXCEEDED");

    let room = test.room("alice", json!({"invite": ["@bob:hs"]})).await;
    let member = |membership: &str| json!({"membership": membership});
    test.set("alice", &room, "m.room.member", "@carol:hs", member("invite")).await.ok();
    let invite = json!({"user_id": "@dave:hs"});
    test.post("alice", &format!("/v3/rooms/{room}/invite"), invite).await.refused(429, "M_LIMIT_EXCEEDED");
    test.set("alice", &room, "m.room.member", "@dave:hs", member("invite")).await.refused(429, "M_LIMIT_EXCEEDED");
    test.room("alice", json!({})).await;

    let limited = [
        ("/v3/user_directory/search", json!({"search_term": "bob"})),
        ("/v3/pushers/set", json!({"app_id": "a", "pushkey": "k", "kind": null})),
        ("/v3/users/@bob:hs/report", json!({"reason": "x"})),
    ];
    for (path, body) in limited {
        test.post("alice", path, body.clone()).await.ok();
        test.post("alice", path, body.clone()).await.ok();
        test.post("alice", path, body.clone()).await.refused(429, "M_LIMIT_EXCEEDED");
    }
    for (name, allowed) in [("A", true), ("B", true), ("C", false)] {
        let answer = test.put("alice", "/v3/profile/@alice:hs/displayname", json!({"displayname": name})).await;
        assert_eq!(answer.status, if allowed { 200 } else { 429 }, "{name}");
    }
}
