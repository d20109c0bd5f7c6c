use std::sync::Arc;

use ruma::owned_device_id;
use serde_json::{Value, json};
use users::{devices::NewDevice, tokens::NewTokens};

use crate::testing::TestApp;

/// The user's device, which the test's tokens act as.
async fn device(test: &TestApp, user: &str, id: &str) {
    let account = test.app.users.accounts.find(user).await.unwrap().unwrap();
    let access = format!("{user}-{id}");
    let tokens = NewTokens { access: &access, expires_ts: None, refresh: None };
    let new = NewDevice { device_id: id.into(), display_name: None, tokens };
    test.app.users.devices.create(account.num, &new).await.unwrap();
}

/// A server with these users, each with the device that the test's token acts as.
pub(super) async fn with_devices(users: &[&str]) -> TestApp {
    let test = TestApp::new(users).await;
    for user in users {
        device(&test, user, &user.to_uppercase()).await;
    }
    test
}

fn device_keys(user: &str, device: &str, key: &str) -> Value {
    json!({
        "user_id": format!("@{user}:hs"), "device_id": device, "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": {format!("ed25519:{device}"): key}, "signatures": {format!("@{user}:hs"): {}},
    })
}

pub(super) async fn publish(test: &TestApp, user: &str, key: &str) {
    let keys = device_keys(user, &user.to_uppercase(), key);
    test.post(user, "/v3/keys/upload", json!({"device_keys": keys})).await.ok();
}

async fn token(test: &TestApp, user: &str) -> String {
    next(&test.sync(user, None).await)
}

fn next(sync: &Value) -> String {
    sync["next_batch"].as_str().unwrap().to_owned()
}

fn listed(sync: &Value, part: &str) -> Vec<String> {
    let users = sync["device_lists"][part].as_array().cloned().unwrap_or_default();
    users.iter().map(|user| user.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn keys_are_uploaded_queried_and_claimed() {
    let test = with_devices(&["alice", "bob"]).await;
    let (keys, key) = (device_keys("alice", "ALICE", "k"), json!({"key": "one", "signatures": {}}));
    let upload = json!({"device_keys": keys, "one_time_keys": {"signed_curve25519:A": key}});
    let counts = test.post("alice", "/v3/keys/upload", upload).await.ok();
    assert_eq!(counts, json!({"one_time_key_counts": {"signed_curve25519": 1}}));
    assert_eq!(test.sync("alice", None).await["device_one_time_keys_count"]["signed_curve25519"], 1);

    let query = json!({"device_keys": {"@alice:hs": [], "@bob:hs": [], "@nobody:hs": []}});
    let found = test.post("bob", "/v3/keys/query", query).await.ok();
    assert_eq!(found["device_keys"], json!({"@alice:hs": {"ALICE": keys}, "@bob:hs": {}}));
    let other = json!({"device_keys": {"@alice:hs": ["OTHER"]}});
    assert_eq!(test.post("bob", "/v3/keys/query", other).await.ok()["device_keys"], json!({"@alice:hs": {}}));
    let object = json!({"device_keys": {"@alice:hs": {"ALICE": true}}});
    test.post("bob", "/v3/keys/query", object).await.refused(400, "M_BAD_JSON");

    let since = token(&test, "alice").await;
    let claim = json!({"one_time_keys": {"@alice:hs": {"ALICE": "signed_curve25519"}}});
    let claimed = test.post("bob", "/v3/keys/claim", claim.clone()).await.ok();
    assert_eq!(claimed["one_time_keys"], json!({"@alice:hs": {"ALICE": {"signed_curve25519:A": key}}}));
    assert_eq!(test.post("bob", "/v3/keys/claim", claim).await.ok()["one_time_keys"], json!({}));
    assert_eq!(test.sync("alice", Some(&since)).await["device_one_time_keys_count"]["signed_curve25519"], 0);

    let bad = json!({"device_keys": {"user_id": "@alice:hs", "device_id": "ALICE"}});
    test.post("alice", "/v3/keys/upload", bad).await.refused(400, "M_BAD_JSON");
    let theirs = json!({"device_keys": device_keys("bob", "BOB", "k")});
    test.post("alice", "/v3/keys/upload", theirs).await.refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn users_of_servers_that_cannot_be_asked_are_failures() {
    let test = with_devices(&["alice"]).await;
    let found = test.post("alice", "/v3/keys/query", json!({"device_keys": {"@zoe:far": []}})).await.ok();
    assert!(found["failures"]["far"].is_object(), "{found}");
    let claim = json!({"one_time_keys": {"@zoe:far": {"Z": "signed_curve25519"}}});
    assert!(test.post("alice", "/v3/keys/claim", claim).await.ok()["failures"]["far"].is_object());
}

#[tokio::test]
async fn an_unused_fallback_key_is_told_until_it_is_claimed() {
    let test = with_devices(&["alice", "bob"]).await;
    let fallback = json!({"fallback_keys": {"signed_curve25519:F": {"key": "f", "fallback": true}}});
    test.post("alice", "/v3/keys/upload", fallback).await.ok();
    let sync = test.sync("alice", None).await;
    assert_eq!(sync["device_unused_fallback_key_types"], json!(["signed_curve25519"]));
    let claim = json!({"one_time_keys": {"@alice:hs": {"ALICE": "signed_curve25519"}}});
    for _ in 0..2 {
        let claimed = test.post("bob", "/v3/keys/claim", claim.clone()).await.ok();
        assert_eq!(claimed["one_time_keys"]["@alice:hs"]["ALICE"]["signed_curve25519:F"]["key"], "f");
    }
    assert_eq!(test.sync("alice", Some(&next(&sync))).await["device_unused_fallback_key_types"], json!([]));
}

#[tokio::test]
async fn those_who_share_a_room_see_that_devices_changed() {
    let test = with_devices(&["alice", "bob", "carol"]).await;
    test.public_room(&["alice", "bob"]).await;
    let (alice, bob, carol) = (token(&test, "alice").await, token(&test, "bob").await, token(&test, "carol").await);
    publish(&test, "alice", "k").await;
    for (user, since) in [("alice", &alice), ("bob", &bob)] {
        let sync = test.sync(user, Some(since)).await;
        assert_eq!(listed(&sync, "changed"), ["@alice:hs"], "{user}");
        assert!(listed(&test.sync(user, Some(&next(&sync))).await, "changed").is_empty());
        assert_eq!(listed(&test.sync(user, Some(since)).await, "changed"), ["@alice:hs"], "the same token again");
    }
    assert!(listed(&test.sync("carol", Some(&carol)).await, "changed").is_empty());
    let since = token(&test, "bob").await;
    let account = test.app.users.accounts.find("alice").await.unwrap().unwrap();
    test.app.users.devices.rename(account.num, &owned_device_id!("ALICE"), Some("Phone".to_owned())).await.unwrap();
    let sync = test.sync("bob", Some(&since)).await;
    assert_eq!(listed(&sync, "changed"), ["@alice:hs"]);
    test.app.users.devices.delete(account.num, &[owned_device_id!("ALICE")]).await.unwrap();
    assert_eq!(listed(&test.sync("bob", Some(&next(&sync))).await, "changed"), ["@alice:hs"]);
    let to = token(&test, "bob").await;
    let changes = test.get("bob", &format!("/v3/keys/changes?from={since}&to={to}")).await.ok();
    assert_eq!(changes, json!({"changed": ["@alice:hs"], "left": []}));
    test.get("bob", "/v3/keys/changes?from=x&to=y").await.refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn who_comes_and_goes_is_in_the_lists_whatever_a_filter_hides() {
    let test = with_devices(&["alice", "bob"]).await;
    let room = test.room("alice", json!({"preset": "public_chat"})).await;
    let (alice, bob) = (token(&test, "alice").await, token(&test, "bob").await);
    test.join("bob", &room).await.ok();
    let filter = "%7B%22room%22%3A%7B%22timeline%22%3A%7B%22not_types%22%3A%5B%22*%22%5D%7D%2C%22state%22%3A%7B%22lazy_load_members%22%3Atrue%2C%22not_types%22%3A%5B%22*%22%5D%7D%7D%7D";
    let seen = test.get("alice", &format!("/v3/sync?since={alice}&filter={filter}")).await.ok();
    assert_eq!(listed(&seen, "changed"), ["@bob:hs"]);
    // One's own other devices have to know, too.
    let own = test.sync("bob", Some(&bob)).await;
    assert_eq!(listed(&own, "changed"), ["@alice:hs", "@bob:hs"]);
    // Another name is no other device.
    test.set("bob", &room, "m.room.member", "@bob:hs", json!({"membership": "join", "displayname": "B"})).await.ok();
    let seen = test.sync("alice", Some(&next(&seen))).await;
    assert!(listed(&seen, "changed").is_empty());
    test.post("bob", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    let gone = test.get("alice", &format!("/v3/sync?since={}&filter={filter}", next(&seen))).await.ok();
    assert_eq!((listed(&gone, "changed"), listed(&gone, "left")), (vec![], vec!["@bob:hs".to_owned()]));
    let left = test.sync("bob", Some(&next(&own))).await;
    assert_eq!(listed(&left, "left"), ["@alice:hs"]);
    publish(&test, "bob", "new").await;
    assert!(listed(&test.sync("alice", Some(&next(&gone))).await, "changed").is_empty());
    test.join("bob", &room).await.ok();
    assert_eq!(listed(&test.sync("alice", Some(&next(&gone))).await, "changed"), ["@bob:hs"]);
    // Who went and came back between two syncs has changed as well; with another room in common nobody has left.
    let since = token(&test, "alice").await;
    test.public_room(&["alice", "bob"]).await;
    test.post("bob", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    let both = test.sync("alice", Some(&since)).await;
    assert!(listed(&both, "left").is_empty());
    test.join("bob", &room).await.ok();
    let since = token(&test, "alice").await;
    test.post("bob", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    test.join("bob", &room).await.ok();
    assert_eq!(listed(&test.sync("alice", Some(&since)).await, "changed"), ["@bob:hs"]);
}

fn received(sync: &Value) -> Vec<Value> {
    sync["to_device"]["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn messages_come_again_for_the_same_token_and_go_with_the_next() {
    let test = with_devices(&["alice", "bob"]).await;
    device(&test, "bob", "PHONE").await;
    let since = token(&test, "bob").await;
    let body = json!({"messages": {"@bob:hs": {"*": {"n": 1}}, "@nobody:hs": {"X": {"n": 2}}}});
    for _ in 0..2 {
        test.put("alice", "/v3/sendToDevice/m.test/t1", body.clone()).await.ok();
    }
    let wanted = json!({"type": "m.test", "sender": "@alice:hs", "content": {"n": 1}});
    let first = test.sync("bob", Some(&since)).await;
    assert_eq!(received(&first), std::slice::from_ref(&wanted));
    assert_eq!(received(&test.sync("bob", Some(&since)).await), std::slice::from_ref(&wanted));
    assert_eq!(received(&test.sync("bob:PHONE", None).await), [wanted]);
    assert!(received(&test.sync("bob", Some(&next(&first))).await).is_empty());
    assert!(received(&test.sync("bob", Some(&since)).await).is_empty(), "it was confirmed by the newer token");
    test.put("alice", "/v3/sendToDevice/m.test/t2", json!({"messages": {"@bob:hs": {"BOB": 7}}}))
        .await
        .refused(400, "M_BAD_JSON");
}

#[tokio::test]
async fn more_messages_than_a_response_takes_come_in_parts_and_none_twice() {
    let test = with_devices(&["alice", "bob"]).await;
    let mut since = token(&test, "bob").await;
    for n in 0..250 {
        let body = json!({"messages": {"@bob:hs": {"BOB": {"n": n}}}});
        test.put("alice", &format!("/v3/sendToDevice/m.test/t{n}"), body).await.ok();
    }
    let (mut seen, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let sync = test.sync("bob", Some(&since)).await;
        let again = test.sync("bob", Some(&since)).await;
        assert_eq!(received(&sync), received(&again));
        seen.extend(received(&sync).iter().map(|event| event["content"]["n"].as_u64().unwrap()));
        sizes.push(received(&sync).len());
        since = next(&sync);
    }
    assert_eq!(sizes, [100, 100, 50, 0]);
    assert_eq!(seen, (0..250).collect::<Vec<u64>>());
}

#[tokio::test]
async fn long_polls_wake_for_messages_devices_and_claimed_keys() {
    let config = crate::ClientApiConfig { max_sync_timeout_seconds: 1_000_000, ..Default::default() };
    let test = Arc::new(TestApp::with(config, &["alice", "bob"]).await);
    for user in ["alice", "bob"] {
        device(&test, user, &user.to_uppercase()).await;
    }
    test.public_room(&["alice", "bob"]).await;
    let upload = json!({"one_time_keys": {"signed_curve25519:A": {"key": "a"}}});
    test.post("bob", "/v3/keys/upload", upload).await.ok();
    let wait = async || {
        let since = token(&test, "bob").await;
        let path = format!("/v3/sync?since={since}&timeout=900000000&set_presence=offline");
        let poll = Arc::clone(&test);
        let waiting = tokio::spawn(async move { poll.get("bob", &path).await.ok() });
        test.until_somebody_waits().await;
        [waiting]
    };
    let [waiting] = wait().await;
    test.put("alice", "/v3/sendToDevice/m.test/1", json!({"messages": {"@bob:hs": {"BOB": {}}}})).await.ok();
    assert_eq!(received(&waiting.await.unwrap()).len(), 1);
    let [waiting] = wait().await;
    publish(&test, "alice", "k").await;
    assert_eq!(listed(&waiting.await.unwrap(), "changed"), ["@alice:hs"]);
    let [waiting] = wait().await;
    let claim = json!({"one_time_keys": {"@bob:hs": {"BOB": "signed_curve25519"}}});
    test.post("alice", "/v3/keys/claim", claim).await.ok();
    assert_eq!(waiting.await.unwrap()["device_one_time_keys_count"]["signed_curve25519"], 0);
}

#[tokio::test]
async fn backups_are_kept_by_version() {
    let test = with_devices(&["alice"]).await;
    test.get("alice", "/v3/room_keys/version").await.refused(404, "M_NOT_FOUND");
    let described = json!({"algorithm": "m.megolm_backup.v1", "auth_data": {"foo": "bar"}});
    let made = test.post("alice", "/v3/room_keys/version", described.clone()).await.ok();
    let version = made["version"].as_str().unwrap().to_owned();
    let info = test.get("alice", "/v3/room_keys/version").await.ok();
    let wanted = json!({
        "algorithm": "m.megolm_backup.v1", "auth_data": {"foo": "bar"}, "count": 0, "etag": "0", "version": version,
    });
    assert_eq!(info, wanted);
    let key = |n: u64| json!({"first_message_index": n, "forwarded_count": 0, "is_verified": false, "session_data": {"a": "b"}});
    let keys = format!("/v3/room_keys/keys?version={version}");
    let of = |path: &str| format!("/v3/room_keys/keys/{path}?version={version}");
    let rooms = json!({"rooms": {"!a:hs": {"sessions": {"s1": key(1), "s2": key(2)}}}});
    assert_eq!(test.put("alice", &keys, rooms.clone()).await.ok(), json!({"etag": "1", "count": 2}));
    let more = json!({"sessions": {"s3": key(3)}});
    assert_eq!(test.put("alice", &of("!b:hs"), more).await.ok(), json!({"etag": "2", "count": 3}));
    assert_eq!(test.put("alice", &of("!b:hs/s3"), key(9)).await.ok(), json!({"etag": "2", "count": 3}));
    assert_eq!(test.get("alice", &of("!b:hs/s3")).await.ok(), key(3));
    assert_eq!(test.get("alice", &of("!a:hs")).await.ok(), rooms["rooms"]["!a:hs"]);
    assert_eq!(test.get("alice", &of("!none:hs")).await.ok(), json!({"sessions": {}}));
    test.get("alice", &of("!a:hs/none")).await.refused(404, "M_NOT_FOUND");
    assert_eq!(test.get("alice", &keys).await.ok()["rooms"].as_object().unwrap().len(), 2);
    assert_eq!(test.delete("alice", &of("!a:hs/s1")).await.ok(), json!({"etag": "3", "count": 2}));
    assert_eq!(test.delete("alice", &of("!a:hs")).await.ok(), json!({"etag": "4", "count": 1}));
    let change = json!({"algorithm": "m.megolm_backup.v1", "auth_data": {"foo": "new"}, "version": version});
    let path = format!("/v3/room_keys/version/{version}");
    test.put("alice", &path, change).await.ok();
    let other = json!({"algorithm": "m.other", "auth_data": {}});
    test.put("alice", &path, other).await.refused(400, "M_INVALID_PARAM");
    let wrong = json!({"algorithm": "m.megolm_backup.v1", "auth_data": {}, "version": "77"});
    test.put("alice", &path, wrong).await.refused(400, "M_INVALID_PARAM");
    assert_eq!(test.get("alice", &path).await.ok()["auth_data"], json!({"foo": "new"}));

    let second = test.post("alice", "/v3/room_keys/version", described).await.ok();
    let refused = test.put("alice", &keys, rooms).await.refused(403, "M_WRONG_ROOM_KEYS_VERSION");
    assert_eq!(refused["current_version"], second["version"]);
    assert_eq!(test.delete("alice", &keys).await.ok(), json!({"etag": "5", "count": 0}));
    test.delete("alice", &path).await.ok();
    test.delete("alice", &path).await.ok();
    test.get("alice", &path).await.refused(404, "M_NOT_FOUND");
    test.get("alice", &keys).await.refused(404, "M_NOT_FOUND");
    test.get("alice", "/v3/room_keys/version/none").await.refused(404, "M_NOT_FOUND");
}
