use std::sync::Arc;

use serde_json::{Value, json};

use crate::{ClientApiConfig, testing::TestApp};

fn status(user: &str) -> String {
    format!("/v3/presence/@{user}:hs/status")
}

fn of<'a>(sync: &'a Value, user: &str) -> &'a Value {
    let events = sync["presence"]["events"].as_array();
    let found = events.and_then(|events| events.iter().find(|event| event["sender"] == user));
    found.map_or(&Value::Null, |event| &event["content"])
}

/// A sync that nobody ends times out with an error: the server may keep clients waiting for longer than a request may take.
fn patient() -> ClientApiConfig {
    ClientApiConfig { max_sync_timeout_seconds: 1_000_000, ..Default::default() }
}

#[tokio::test]
async fn those_who_share_a_room_see_each_other() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    test.public_room(&["alice", "bob"]).await;
    let since = test.sync("bob", None).await["next_batch"].as_str().unwrap().to_owned();
    test.put("alice", &status("alice"), json!({"presence": "unavailable", "status_msg": "lunch"})).await.ok();
    let seen = test.get("bob", &status("alice")).await.ok();
    let there = json!({
        "presence": "unavailable", "status_msg": "lunch", "last_active_ago": 0, "currently_active": false,
    });
    assert_eq!(seen, there);
    assert_eq!(test.get("alice", &status("alice")).await.ok()["status_msg"], "lunch");
    let news = test.sync("bob", Some(&since)).await;
    assert_eq!(*of(&news, "@alice:hs"), there);
    let again = test.sync("bob", news["next_batch"].as_str()).await;
    assert_eq!(again["presence"], json!(null));

    test.get("carol", &status("alice")).await.refused(403, "M_FORBIDDEN");
    test.get("carol", &status("nobody")).await.refused(403, "M_FORBIDDEN");
    assert_eq!(*of(&test.sync("carol", None).await, "@alice:hs"), json!(null));
    test.put("bob", &status("alice"), json!({"presence": "online"})).await.refused(403, "M_FORBIDDEN");
    test.put("alice", &status("alice"), json!({"presence": "asleep"})).await.refused(400, "M_INVALID_PARAM");
    test.put("alice", &status("alice"), json!({})).await.refused(400, "M_MISSING_PARAM");
    test.put("alice", &status("alice"), json!({"presence": "online", "status_msg": "x".repeat(2000)}))
        .await
        .refused(413, "M_TOO_LARGE");
}

#[tokio::test]
async fn users_of_whom_nothing_was_heard_are_offline() {
    let test = TestApp::new(&["alice"]).await;
    assert_eq!(test.get("alice", &status("alice")).await.ok(), json!({"presence": "offline"}));
}

#[tokio::test]
async fn housekeeping_lets_silent_users_go_and_wakes_who_sees_it() {
    let test = Arc::new(TestApp::with(patient(), &["alice", "bob"]).await);
    test.public_room(&["alice", "bob"]).await;
    test.put("alice", &status("alice"), json!({"presence": "online"})).await.ok();
    test.get("bob", "/v3/sync?set_presence=offline").await.ok();
    let since = test.sync("bob", None).await["next_batch"].as_str().unwrap().to_owned();
    let waiting = {
        let test = Arc::clone(&test);
        tokio::spawn(async move { test.get("bob", &format!("/v3/sync?since={since}&timeout=900000000")).await.ok() })
    };
    test.until_somebody_waits().await;
    test.clock.advance(60_000);
    test.app.housekeeping().await;
    assert_eq!(of(&waiting.await.unwrap(), "@alice:hs")["presence"], "offline");
}

#[tokio::test]
async fn closing_ends_long_polls_at_once() {
    let test = Arc::new(TestApp::with(patient(), &["alice"]).await);
    let since = test.sync("alice", None).await["next_batch"].as_str().unwrap().to_owned();
    let path = format!("/v3/sync?since={since}&timeout=900000000");
    let waiting = {
        let (test, path) = (Arc::clone(&test), path.clone());
        tokio::spawn(async move { test.get("alice", &path).await.ok() })
    };
    test.until_somebody_waits().await;
    test.app.close();
    assert_eq!(waiting.await.unwrap()["rooms"], json!(null));
    assert!(test.get("alice", &path).await.ok()["next_batch"].is_string(), "and those that come later");
}

#[tokio::test]
async fn a_server_without_presence_says_so() {
    let config = ClientApiConfig { presence: false, ..Default::default() };
    let test = TestApp::with(config, &["alice"]).await;
    test.get("alice", &status("alice")).await.refused(404, "M_NOT_FOUND");
    test.put("alice", &status("alice"), json!({"presence": "online"})).await.refused(403, "M_FORBIDDEN");
    assert_eq!(test.sync("alice", None).await["presence"], json!(null));
    test.app.housekeeping().await;
}
