use serde_json::json;

use crate::testing::TestApp;

#[tokio::test]
async fn fields_are_set_read_and_removed() {
    let test = TestApp::new(&["alice", "bob"]).await;
    assert_eq!(test.get("", "/v3/profile/@alice:hs").await.ok(), json!({}));
    test.get("", "/v3/profile/@alice:hs/displayname").await.refused(404, "M_NOT_FOUND");
    let put = |key: &'static str, value| test.put("alice", key, value);
    put("/v3/profile/@alice:hs/displayname", json!({"displayname": "Alice"})).await.ok();
    put("/v3/profile/@alice:hs/avatar_url", json!({"avatar_url": "mxc://hs/abc"})).await.ok();
    put("/v3/profile/@alice:hs/m.tz", json!({"m.tz": "Europe/Berlin"})).await.ok();
    put("/v3/profile/@alice:hs/org.example.iban", json!({"org.example.iban": {"a": [1, "\"é"]}})).await.ok();
    let all = json!({
        "displayname": "Alice", "avatar_url": "mxc://hs/abc", "m.tz": "Europe/Berlin",
        "org.example.iban": {"a": [1, "\"é"]},
    });
    assert_eq!(test.get("", "/v3/profile/@alice:hs").await.ok(), all);
    assert_eq!(test.get("", "/v3/profile/@alice:hs/m.tz").await.ok(), json!({"m.tz": "Europe/Berlin"}));
    test.delete("alice", "/v3/profile/@alice:hs/m.tz").await.ok();
    test.delete("alice", "/v3/profile/@alice:hs/m.tz").await.ok();
    test.get("", "/v3/profile/@alice:hs/m.tz").await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn only_owners_write_and_only_what_the_field_takes() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let path = "/v3/profile/@alice:hs/displayname";
    test.put("bob", path, json!({"displayname": "Eve"})).await.refused(403, "M_FORBIDDEN");
    test.delete("bob", path).await.refused(403, "M_FORBIDDEN");
    test.put("", path, json!({"displayname": "Eve"})).await.refused(401, "M_MISSING_TOKEN");
    test.put("alice", path, json!({})).await.refused(400, "M_MISSING_PARAM");
    test.put("alice", path, json!({"displayname": 7})).await.refused(400, "M_INVALID_PARAM");
    test.put("alice", "/v3/profile/@alice:hs/avatar_url", json!({"avatar_url": "https://x"}))
        .await
        .refused(400, "M_INVALID_PARAM");
    let long = format!("a{}", "b".repeat(255));
    test.put("alice", &format!("/v3/profile/@alice:hs/{long}"), json!({long.clone(): 1}))
        .await
        .refused(400, "M_KEY_TOO_LARGE");
    test.put("alice", "/v3/profile/@alice:hs/org.big", json!({"org.big": "x".repeat(70_000)}))
        .await
        .refused(400, "M_PROFILE_TOO_LARGE");
    test.put("alice", "/v3/profile/@alice:hs/No%20Key", json!({"No Key": 1})).await.refused(400, "M_INVALID_PARAM");
    test.get("", "/v3/profile/@nobody:hs").await.refused(404, "M_NOT_FOUND");
    test.get("", "/v3/profile/@alice:elsewhere/displayname").await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_new_name_reaches_every_room_and_leaves_the_rest_of_the_membership_alone() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let other = test.room("alice", json!({})).await;
    let left = test.public_room(&["bob", "alice"]).await;
    test.post("alice", &format!("/v3/rooms/{left}/leave"), json!({})).await.ok();
    test.set("alice", &room, "m.room.member", "@alice:hs", json!({"membership": "join", "org.hat": "red"})).await.ok();
    let since = test.sync("bob", None).await["next_batch"].as_str().unwrap().to_owned();

    test.put("alice", "/v3/profile/@alice:hs/displayname", json!({"displayname": "Ali"})).await.ok();
    let member = json!({"membership": "join", "org.hat": "red", "displayname": "Ali"});
    assert_eq!(test.state(&room, "m.room.member", "@alice:hs").await, member);
    assert_eq!(test.state(&other, "m.room.member", "@alice:hs").await["displayname"], "Ali");
    assert_eq!(test.state(&left, "m.room.member", "@alice:hs").await["membership"], "leave");
    let news = test.sync("bob", Some(&since)).await;
    let event = &news["rooms"]["join"][&room]["timeline"]["events"][0];
    assert_eq!(event["content"], member);

    test.put("alice", "/v3/profile/@alice:hs/avatar_url", json!({"avatar_url": "mxc://hs/a"})).await.ok();
    test.delete("alice", "/v3/profile/@alice:hs/displayname").await.ok();
    let member = json!({"membership": "join", "org.hat": "red", "avatar_url": "mxc://hs/a"});
    assert_eq!(test.state(&room, "m.room.member", "@alice:hs").await, member);

    // Nothing to say where nothing changed.
    let since = test.sync("bob", None).await["next_batch"].as_str().unwrap().to_owned();
    test.put("alice", "/v3/profile/@alice:hs/avatar_url", json!({"avatar_url": "mxc://hs/a"})).await.ok();
    test.put("alice", "/v3/profile/@alice:hs/m.tz", json!({"m.tz": "UTC"})).await.ok();
    assert_eq!(test.sync("bob", Some(&since)).await["rooms"], json!(null));
}

#[tokio::test]
async fn of_changes_at_the_same_time_rooms_end_with_the_profile() {
    let test = TestApp::new(&["alice"]).await;
    let room = test.room("alice", json!({})).await;
    let names = ["A", "B", "C", "D", "E", "F"];
    let all = names.map(|name| test.put("alice", "/v3/profile/@alice:hs/displayname", json!({"displayname": name})));
    for answer in futures::future::join_all(all).await {
        answer.ok();
    }
    let profile = test.get("", "/v3/profile/@alice:hs/displayname").await.ok();
    assert_eq!(test.state(&room, "m.room.member", "@alice:hs").await["displayname"], profile["displayname"]);
}
