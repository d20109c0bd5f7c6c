use serde_json::{Value, json};

use crate::testing::TestApp;

fn token(sync: &Value) -> String {
    sync["next_batch"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn global_data_is_kept_and_synced_once() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let path = "/v3/user/@alice:hs/account_data/org.example.x";
    test.get("alice", path).await.refused(404, "M_NOT_FOUND");
    let since = token(&test.sync("alice", None).await);
    test.put("alice", path, json!({"a": 1})).await.ok();
    test.put("alice", path, json!({"a": 2})).await.ok();
    assert_eq!(test.get("alice", path).await.ok(), json!({"a": 2}));

    let news = test.sync("alice", Some(&since)).await;
    assert_eq!(news["account_data"]["events"], json!([{"type": "org.example.x", "content": {"a": 2}}]));
    let again = test.sync("alice", Some(&token(&news))).await;
    assert_eq!(again["account_data"], json!(null));
    let first = test.sync("alice", None).await;
    let types: Vec<&str> =
        first["account_data"]["events"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["org.example.x", "m.push_rules"]);

    test.get("bob", path).await.refused(403, "M_FORBIDDEN");
    test.put("bob", path, json!({})).await.refused(403, "M_FORBIDDEN");
    test.put("alice", path, json!([1])).await.refused(400, "M_BAD_JSON");
    test.put("alice", path, json!({"x": "y".repeat(70_000)})).await.refused(413, "M_TOO_LARGE");
}

#[tokio::test]
async fn what_the_server_manages_cannot_be_set() {
    let test = TestApp::new(&["alice"]).await;
    let room = test.room("alice", json!({})).await;
    for kind in ["m.push_rules", "m.fully_read"] {
        test.put("alice", &format!("/v3/user/@alice:hs/account_data/{kind}"), json!({}))
            .await
            .refused(405, "M_BAD_JSON");
        test.put("alice", &format!("/v3/user/@alice:hs/rooms/{room}/account_data/{kind}"), json!({}))
            .await
            .refused(405, "M_BAD_JSON");
    }
    let rules = test.get("alice", "/v3/user/@alice:hs/account_data/m.push_rules").await.ok();
    assert!(rules["global"]["override"].is_array());
}

#[tokio::test]
async fn data_of_a_room_comes_with_the_room() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.room("alice", json!({})).await;
    let path = format!("/v3/user/@alice:hs/rooms/{room}/account_data/org.example.x");
    let since = token(&test.sync("alice", None).await);
    test.put("alice", &path, json!({"a": 1})).await.ok();
    assert_eq!(test.get("alice", &path).await.ok(), json!({"a": 1}));
    test.get("alice", "/v3/user/@alice:hs/account_data/org.example.x").await.refused(404, "M_NOT_FOUND");
    let news = test.sync("alice", Some(&since)).await;
    assert_eq!(news["account_data"], json!(null));
    let events = &news["rooms"]["join"][&room]["account_data"]["events"];
    assert_eq!(*events, json!([{"type": "org.example.x", "content": {"a": 1}}]));
    assert_eq!(test.sync("alice", Some(&token(&news))).await["rooms"], json!(null));

    let bobs = format!("/v3/user/@bob:hs/rooms/{room}/account_data/org.example.x");
    test.put("bob", &bobs, json!({})).await.refused(403, "M_FORBIDDEN");
    test.put("bob", &path, json!({})).await.refused(403, "M_FORBIDDEN");
    test.put("bob", "/v3/user/@bob:hs/rooms/!made.up:hs/account_data/org.example.x", json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    test.put("bob", "/v3/user/@bob:hs/rooms/nonsense/account_data/org.example.x", json!({}))
        .await
        .refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn rooms_are_tagged() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.room("alice", json!({})).await;
    let path = format!("/v3/user/@alice:hs/rooms/{room}/tags");
    assert_eq!(test.get("alice", &path).await.ok(), json!({"tags": {}}));
    let since = token(&test.sync("alice", None).await);
    test.put("alice", &format!("{path}/m.favourite"), json!({"order": 0.25, "org.x": true})).await.ok();
    test.put("alice", &format!("{path}/u.work"), json!({})).await.ok();
    let tags = json!({"m.favourite": {"order": 0.25, "org.x": true}, "u.work": {}});
    assert_eq!(test.get("alice", &path).await.ok()["tags"], tags);
    let news = test.sync("alice", Some(&since)).await;
    let events = &news["rooms"]["join"][&room]["account_data"]["events"];
    assert_eq!(*events, json!([{"type": "m.tag", "content": {"tags": tags}}]));
    test.delete("alice", &format!("{path}/m.favourite")).await.ok();
    test.delete("alice", &format!("{path}/m.favourite")).await.ok();
    assert_eq!(test.get("alice", &path).await.ok()["tags"], json!({"u.work": {}}));

    test.put("alice", &format!("{path}/u.a"), json!({"order": 1.5})).await.refused(400, "M_INVALID_PARAM");
    test.put("alice", &format!("{path}/u.a"), json!({"order": "first"})).await.refused(400, "M_BAD_JSON");
    test.put("alice", &format!("{path}/{}", "u".repeat(256)), json!({})).await.refused(400, "M_INVALID_PARAM");
    test.get("bob", &path).await.refused(403, "M_FORBIDDEN");
    test.put("bob", &format!("{path}/u.a"), json!({})).await.refused(403, "M_FORBIDDEN");
    test.delete("bob", &format!("{path}/u.work")).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn what_is_removed_is_gone_and_the_next_sync_says_so() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.room("alice", json!({})).await;
    let global = "user/@alice:hs/account_data/org.example.x".to_owned();
    let in_room = format!("user/@alice:hs/rooms/{room}/account_data/org.example.x");
    for (path, is_global) in [(global, true), (in_room, false)] {
        for with_put in [false, true] {
            test.put("alice", &format!("/v3/{path}"), json!({"a": 1})).await.ok();
            let since = token(&test.sync("alice", None).await);
            if with_put {
                test.put("alice", &format!("/v3/{path}"), json!({})).await.ok();
            } else {
                test.delete("alice", &format!("/unstable/org.matrix.msc3391/{path}")).await.ok();
            }
            test.get("alice", &format!("/v3/{path}")).await.refused(404, "M_NOT_FOUND");
            let place = |sync: &Value| match is_global {
                true => sync["account_data"]["events"].clone(),
                false => sync["rooms"]["join"][&room]["account_data"]["events"].clone(),
            };
            let told = place(&test.sync("alice", Some(&since)).await);
            assert_eq!(told, json!([{"type": "org.example.x", "content": {}}]));
            let first = place(&test.sync("alice", None).await);
            assert!(!first.to_string().contains("org.example.x"), "{first}");
            assert!(first.is_array(), "a list, though it be empty: {first}");
        }
    }
    // What was not there is not there: nothing to tell; but who sets something empty is shown it.
    let path = "/unstable/org.matrix.msc3391/user/@alice:hs/account_data/org.example.none";
    let since = token(&test.sync("alice", None).await);
    test.delete("alice", path).await.ok();
    assert_eq!(test.sync("alice", Some(&since)).await["account_data"], json!(null));
    test.put("alice", "/v3/user/@alice:hs/account_data/org.example.none", json!({})).await.ok();
    let told = test.sync("alice", Some(&since)).await["account_data"]["events"].clone();
    assert_eq!(told, json!([{"type": "org.example.none", "content": {}}]));

    test.delete("bob", path).await.refused(403, "M_FORBIDDEN");
    test.delete("", path).await.refused(401, "M_MISSING_TOKEN");
    let rules = "/unstable/org.matrix.msc3391/user/@alice:hs/account_data/m.push_rules";
    test.delete("alice", rules).await.refused(405, "M_BAD_JSON");
    let elsewhere = "/unstable/org.matrix.msc3391/user/@alice:hs/rooms/!made.up:hs/account_data/org.example.x";
    test.delete("alice", elsewhere).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn what_was_set_in_a_room_is_told_with_the_departure_and_to_none_whose_filter_leaves_the_room_out() {
    let test = TestApp::new(&["alice"]).await;
    let room = test.room("alice", json!({})).await;
    let other = test.room("alice", json!({})).await;
    let since = token(&test.sync("alice", None).await);
    for id in [&room, &other] {
        test.put("alice", &format!("/v3/user/@alice:hs/rooms/{id}/tags/u.x"), json!({})).await.ok();
    }
    test.post("alice", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    let told = test.sync("alice", Some(&since)).await;
    let tags = json!([{"type": "m.tag", "content": {"tags": {"u.x": {}}}}]);
    assert_eq!(told["rooms"]["leave"][&room]["account_data"]["events"], tags);
    assert_eq!(told["rooms"]["join"][&other]["account_data"]["events"], tags);
    let filter = json!({"room": {"account_data": {"not_rooms": [room, other]}}}).to_string();
    let filter: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    let told = test.get("alice", &format!("/v3/sync?since={since}&filter={filter}")).await.ok();
    assert!(!told.to_string().contains("u.x"), "{told}");
}
