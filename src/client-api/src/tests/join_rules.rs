use serde_json::{Value, json};

use crate::testing::TestApp;

async fn rules(test: &TestApp, room: &str, content: Value) {
    test.set("alice", room, "m.room.join_rules", "", content).await.ok();
}

async fn leave(test: &TestApp, who: &str, room: &str) {
    test.post(who, &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
}

#[tokio::test]
async fn members_of_a_room_join_another() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    for (version, rule) in
        [("8", "restricted"), ("10", "knock_restricted"), ("12", "restricted"), ("12", "knock_restricted")]
    {
        let club = test.public_room(&["alice", "bob"]).await;
        let room = test.room("alice", json!({"room_version": version})).await;
        let allow = json!([
            {"type": "org.example.unknown", "room_id": 4},
            "nonsense",
            {"type": "m.room_membership", "room_id": "!nothing:hs"},
            {"type": "m.room_membership", "room_id": club},
        ]);
        rules(&test, &room, json!({"join_rule": rule, "allow": allow})).await;
        test.join("carol", &room).await.refused(403, "M_FORBIDDEN");
        test.join("bob", &room).await.ok();
        let member = test.state(&room, "m.room.member", "@bob:hs").await;
        let wanted = json!({"membership": "join", "join_authorised_via_users_server": "@alice:hs"});
        assert_eq!(member, wanted, "{version} {rule}");
        // Who has left the other room meets the condition no more; an invitation needs none.
        leave(&test, "bob", &room).await;
        leave(&test, "bob", &club).await;
        test.join("bob", &room).await.refused(403, "M_FORBIDDEN");
        let invite = json!({"user_id": "@bob:hs"});
        test.post("alice", &format!("/v3/rooms/{room}/invite"), invite).await.ok();
        test.join("bob", &room).await.ok();
        assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await, json!({"membership": "join"}));
    }
}

#[tokio::test]
async fn somebody_has_to_vouch() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let club = test.public_room(&["alice", "bob", "carol"]).await;
    let room = test.room("alice", json!({"room_version": "11", "invite": ["@carol:hs"]})).await;
    test.join("carol", &room).await.ok();
    let allow = json!([{"type": "m.room_membership", "room_id": club}]);
    rules(&test, &room, json!({"join_rule": "restricted", "allow": allow})).await;
    let levels = json!({"users": {"@alice:hs": 100}, "invite": 50});
    test.set("alice", &room, "m.room.power_levels", "", levels).await.ok();
    leave(&test, "alice", &room).await;
    test.join("bob", &room).await.refused(400, "M_UNABLE_TO_GRANT_JOIN");
    // Anybody vouches where anybody may invite.
    let open = test.room("alice", json!({"room_version": "11", "invite": ["@carol:hs"]})).await;
    test.join("carol", &open).await.ok();
    rules(&test, &open, json!({"join_rule": "restricted", "allow": allow})).await;
    leave(&test, "alice", &open).await;
    test.join("bob", &open).await.ok();
    let member = test.state(&open, "m.room.member", "@bob:hs").await;
    assert_eq!(member["join_authorised_via_users_server"], "@carol:hs");
}

#[tokio::test]
async fn knocks_are_answered_with_invitations() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.room("alice", json!({"room_alias_name": "door"})).await;
    let knock =
        async |who: &str, what: &str| test.post(who, &format!("/v3/knock/{what}"), json!({"reason": "please"})).await;
    knock("bob", &room).await.refused(403, "M_FORBIDDEN");
    rules(&test, &room, json!({"join_rule": "knock"})).await;
    assert_eq!(knock("bob", &room).await.ok(), json!({"room_id": room}));
    assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await, json!({"membership": "knock", "reason": "please"}));
    let shown = test.sync("bob", None).await;
    assert!(shown["rooms"]["knock"][&room]["knock_state"]["events"].is_array(), "{shown}");
    test.join("bob", &room).await.refused(403, "M_FORBIDDEN");
    // A knock can be repeated, and taken back.
    knock("bob", &room).await.ok();
    leave(&test, "bob", &room).await;
    assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await["membership"], "leave");
    knock("bob", "%23door:hs").await.ok();
    test.post("alice", &format!("/v3/rooms/{room}/invite"), json!({"user_id": "@bob:hs"})).await.ok();
    knock("bob", &room).await.refused(403, "M_FORBIDDEN");
    test.join("bob", &room).await.ok();
    knock("bob", &room).await.refused(403, "M_FORBIDDEN");
    test.post("alice", &format!("/v3/rooms/{room}/ban"), json!({"user_id": "@carol:hs"})).await.ok();
    knock("carol", &room).await.refused(403, "M_FORBIDDEN");
    knock("carol", "%23nothing:hs").await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_knock_is_refused_with_a_kick() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.room("alice", json!({})).await;
    rules(&test, &room, json!({"join_rule": "knock"})).await;
    test.post("bob", &format!("/v3/knock/{room}"), json!({})).await.ok();
    test.post("alice", &format!("/v3/rooms/{room}/kick"), json!({"user_id": "@bob:hs"})).await.ok();
    assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await["membership"], "leave");
}
