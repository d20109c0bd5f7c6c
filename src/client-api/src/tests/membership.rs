use serde_json::{Value, json};

use crate::testing::{Answer, TestApp};

async fn act(test: &TestApp, who: &str, room: &str, what: &str, body: Value) -> Answer {
    test.post(who, &format!("/v3/rooms/{room}/{what}"), body).await
}

async fn membership(test: &TestApp, room: &str, who: &str) -> Value {
    test.state(room, "m.room.member", &format!("@{who}:hs")).await["membership"].clone()
}

/// How many events a member sees.
async fn events(test: &TestApp, who: &str, room: &str) -> usize {
    let page = test.get(who, &format!("/v3/rooms/{room}/messages?dir=b&limit=1000")).await.ok();
    page["chunk"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_invited_may_join_and_others_not() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.room("alice", json!({})).await;
    test.join("bob", &room).await.refused(403, "M_FORBIDDEN");
    act(&test, "carol", &room, "invite", json!({"user_id": "@bob:hs"})).await.refused(403, "M_FORBIDDEN");
    let body = json!({"user_id": "@bob:hs", "reason": "come"});
    assert_eq!(act(&test, "alice", &room, "invite", body).await.ok(), json!({}));
    assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await, json!({"membership": "invite", "reason": "come"}));
    assert!(test.sync("bob", None).await["rooms"]["invite"][&room].is_object());
    assert_eq!(test.join("bob", &room).await.ok(), json!({"room_id": room}));
    assert!(test.sync("bob", None).await["rooms"]["join"][&room].is_object());
}

#[tokio::test]
async fn joining_twice_is_one_event() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let before = events(&test, "alice", &room).await;
    assert_eq!(test.join("bob", &room).await.ok(), json!({"room_id": room}));
    assert_eq!(events(&test, "alice", &room).await, before);
}

#[tokio::test]
async fn rooms_are_joined_by_alias_too() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.room("alice", json!({"visibility": "public", "room_alias_name": "pub"})).await;
    assert_eq!(
        test.post("bob", "/v3/join/%23pub:hs", json!({"reason": "thirst"})).await.ok(),
        json!({"room_id": room})
    );
    assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await["reason"], "thirst");
    assert_eq!(test.post("carol", &format!("/v3/join/{room}"), json!({})).await.ok(), json!({"room_id": room}));
    test.post("bob", "/v3/join/%23nothing:hs", json!({})).await.refused(404, "M_NOT_FOUND");
    test.post("bob", "/v3/join/!nothing:hs", json!({})).await.refused(404, "M_NOT_FOUND");
    test.join("bob", "!nothing:hs").await.refused(404, "M_NOT_FOUND");
    let signed = json!({"third_party_signed": {"sender": "@a:hs", "mxid": "@b:hs", "token": "t", "signatures": {}}});
    act(&test, "bob", &room, "join", signed.clone()).await.refused(403, "M_THREEPID_DENIED");
    test.post("bob", "/v3/join/%23pub:hs", signed).await.refused(403, "M_THREEPID_DENIED");
}

#[tokio::test]
async fn not_everybody_can_be_invited() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    act(&test, "alice", &room, "invite", json!({"user_id": "@alice:hs"})).await.refused(403, "M_FORBIDDEN");
    act(&test, "alice", &room, "invite", json!({"user_id": "@bob:hs"})).await.refused(403, "M_FORBIDDEN");
    act(&test, "alice", &room, "invite", json!({"user_id": "@x:elsewhere"})).await.refused(403, "M_FORBIDDEN");
    act(&test, "alice", &room, "invite", json!({"user_id": "bob"})).await.refused(400, "M_BAD_JSON");
    // In public rooms it takes power.
    act(&test, "bob", &room, "invite", json!({"user_id": "@carol:hs"})).await.refused(403, "M_FORBIDDEN");
    let email = json!({"id_server": "x", "id_access_token": "y", "medium": "email", "address": "a@b"});
    act(&test, "alice", &room, "invite", email).await.refused(403, "M_THREEPID_DENIED");
    act(&test, "alice", &room, "ban", json!({"user_id": "@carol:hs"})).await.ok();
    act(&test, "alice", &room, "invite", json!({"user_id": "@carol:hs"})).await.refused(403, "M_FORBIDDEN");
    act(&test, "alice", "!nothing:hs", "invite", json!({"user_id": "@bob:hs"})).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn invitations_can_be_blocked() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let user = test.app.users.accounts.find("bob").await.unwrap().unwrap().num;
    let set = async |content: Value| {
        let content = serde_json::value::to_raw_value(&content).unwrap();
        test.app.users.account_data.set(user, None, "m.invite_permission_config", &content).await.unwrap();
    };
    set(json!({"default_action": "block"})).await;
    let room = test.room("alice", json!({})).await;
    let invite = || act(&test, "alice", &room, "invite", json!({"user_id": "@bob:hs"}));
    invite().await.refused(403, "M_INVITE_BLOCKED");
    let by_state = test.set("alice", &room, "m.room.member", "@bob:hs", json!({"membership": "invite"})).await;
    by_state.refused(403, "M_INVITE_BLOCKED");
    let invited = json!({"invite": ["@bob:hs"]});
    test.post("alice", "/v3/createRoom", invited).await.refused(403, "M_INVITE_BLOCKED");
    set(json!({})).await;
    invite().await.ok();
    // What came before is not shown, and shown again later; the room knows of it all the time.
    let shown = async |since: Option<&str>| test.sync("bob", since).await["rooms"]["invite"][&room].is_object();
    assert!(shown(None).await);
    set(json!({"default_action": "block"})).await;
    let other = test.room("alice", json!({})).await;
    assert!(!shown(None).await);
    assert_eq!(membership(&test, &room, "bob").await, "invite");
    set(json!({"default_action": "allow"})).await;
    assert!(shown(None).await);
    // The name of before.
    let path = "/v3/user/@bob:hs/account_data/org.matrix.msc4380.invite_permission_config";
    test.put("bob", path, json!({"default_action": "block"})).await.ok();
    let again = act(&test, "alice", &other, "invite", json!({"user_id": "@bob:hs"})).await;
    again.refused(403, "M_INVITE_BLOCKED");
}

#[tokio::test]
async fn invitations_can_be_refused_and_hidden_by_who_sends_them() {
    let test = TestApp::new(&["alice", "anna", "bob"]).await;
    let path = "/v3/user/@bob:hs/account_data/org.matrix.msc4155.invite_permission_config";
    test.put("bob", path, json!({"blocked_users": ["@alice:*"], "ignored_servers": ["h?"]})).await.ok();
    let room = test.room("alice", json!({})).await;
    act(&test, "alice", &room, "invite", json!({"user_id": "@bob:hs"})).await.refused(403, "M_INVITE_BLOCKED");
    let room = test.room("anna", json!({"invite": ["@bob:hs"]})).await;
    assert_eq!(membership(&test, &room, "bob").await, "invite");
    assert_eq!(test.sync("bob", None).await["rooms"]["invite"], Value::Null);
    let slid = json!({"lists": {"all": {"ranges": [[0, 9]], "timeline_limit": 1, "required_state": []}}});
    let slide = || test.post("bob", "/unstable/org.matrix.simplified_msc3575/sync", slid.clone());
    assert_eq!(slide().await.ok()["lists"]["all"]["count"], 0);
    test.put("bob", path, json!({"blocked_users": ["@alice:*"]})).await.ok();
    assert!(test.sync("bob", None).await["rooms"]["invite"][&room].is_object());
    assert_eq!(slide().await.ok()["lists"]["all"]["count"], 1);
    test.put("bob", "/v3/user/@bob:hs/account_data/m.ignored_user_list", json!({"ignored_users": {"@anna:hs": {}}}))
        .await
        .ok();
    assert_eq!(slide().await.ok()["lists"]["all"]["count"], 0);
}

#[tokio::test]
async fn leaving_refusing_and_taking_back() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.room("alice", json!({"invite": ["@bob:hs"]})).await;
    act(&test, "carol", &room, "leave", json!({})).await.refused(403, "M_FORBIDDEN");
    act(&test, "carol", "!nothing:hs", "leave", json!({})).await.refused(403, "M_FORBIDDEN");
    // An invitation can be refused even when nobody is left.
    act(&test, "alice", &room, "leave", json!({"reason": "bye"})).await.ok();
    assert_eq!(test.state(&room, "m.room.member", "@alice:hs").await, json!({"membership": "leave", "reason": "bye"}));
    let since = test.sync("bob", None).await["next_batch"].as_str().unwrap().to_owned();
    act(&test, "bob", &room, "leave", json!({})).await.ok();
    assert_eq!(membership(&test, &room, "bob").await, "leave");
    assert!(test.sync("bob", Some(&since)).await["rooms"]["leave"][&room].is_object());
    // Leaving again is no error and no event.
    act(&test, "bob", &room, "leave", json!({})).await.ok();
    act(&test, "alice", &room, "leave", json!({})).await.ok();
    test.join("bob", &room).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn kicks_need_power_and_somebody_to_kick() {
    let test = TestApp::new(&["alice", "bob", "carol", "dave"]).await;
    let room = test.public_room(&["alice", "bob", "carol"]).await;
    let kick = |who: &'static str, whom: &str| act(&test, who, &room, "kick", json!({"user_id": whom, "reason": "r"}));
    kick("bob", "@carol:hs").await.refused(403, "M_FORBIDDEN");
    kick("alice", "@dave:hs").await.refused(403, "M_FORBIDDEN");
    kick("dave", "@bob:hs").await.refused(403, "M_FORBIDDEN");
    kick("alice", "@bob:hs").await.ok();
    assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await, json!({"membership": "leave", "reason": "r"}));
    kick("alice", "@bob:hs").await.refused(403, "M_FORBIDDEN");
    test.join("bob", &room).await.ok();
    // A kick does not lift a ban.
    act(&test, "alice", &room, "ban", json!({"user_id": "@carol:hs"})).await.ok();
    kick("alice", "@carol:hs").await.refused(403, "M_FORBIDDEN");
    assert_eq!(membership(&test, &room, "carol").await, "ban");
    // An invitation is taken back with a kick.
    act(&test, "alice", &room, "invite", json!({"user_id": "@dave:hs"})).await.ok();
    kick("alice", "@dave:hs").await.ok();
    assert_eq!(membership(&test, &room, "dave").await, "leave");
}

#[tokio::test]
async fn bans_keep_out_until_they_are_lifted() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob", "carol"]).await;
    let ban = |who: &'static str, whom: &str| act(&test, who, &room, "ban", json!({"user_id": whom, "reason": "r"}));
    let unban = |who: &'static str, whom: &str| act(&test, who, &room, "unban", json!({"user_id": whom}));
    ban("bob", "@carol:hs").await.refused(403, "M_FORBIDDEN");
    unban("alice", "@bob:hs").await.refused(403, "M_FORBIDDEN");
    ban("alice", "@bob:hs").await.ok();
    assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await, json!({"membership": "ban", "reason": "r"}));
    test.join("bob", &room).await.refused(403, "M_FORBIDDEN");
    act(&test, "bob", &room, "leave", json!({})).await.refused(403, "M_FORBIDDEN");
    ban("alice", "@bob:hs").await.ok();
    unban("carol", "@bob:hs").await.refused(403, "M_FORBIDDEN");
    unban("alice", "@bob:hs").await.ok();
    assert_eq!(membership(&test, &room, "bob").await, "leave");
    test.join("bob", &room).await.ok();
    // Who never was there can be banned.
    ban("alice", "@never:hs").await.ok();
    assert_eq!(membership(&test, &room, "never").await, "ban");
}

#[tokio::test]
async fn reasons_are_bounded() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let body = json!({"reason": "x".repeat(5000)});
    act(&test, "bob", &room, "leave", body).await.refused(400, "M_INVALID_PARAM");
    assert_eq!(membership(&test, &room, "bob").await, "join");
}

#[tokio::test]
async fn joins_carry_what_the_client_adds_but_not_what_the_server_says() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice"]).await;
    let body = json!({
        "org.example.table": 4, "reason": "thirst", "membership": "ban", "displayname": "Alice",
        "join_authorised_via_users_server": "@alice:hs",
    });
    act(&test, "bob", &room, "join", body).await.ok();
    let wanted = json!({"membership": "join", "reason": "thirst", "org.example.table": 4});
    assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await, wanted);
}
