//! Reports, and who reads them.

use http::Method;
use serde_json::{Value, json};
use users::accounts::NewAccount;

use crate::testing::TestApp;

const LIST: &str = "/_cliquepay/admin/v1/reports";

async fn server() -> TestApp {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let root = NewAccount { admin: true, ..NewAccount::user("root") };
    test.app.users.register(root, None).await.unwrap();
    test
}

async fn listed(test: &TestApp, query: &str) -> Value {
    test.at(Method::GET, "root", &format!("{LIST}{query}")).await.ok()
}

#[tokio::test]
async fn what_users_report_is_read_and_removed_by_administrators_alone() {
    let test = server().await;
    let room = test.public_room(&["bob", "alice"]).await;
    let event = test.say("bob", &room, "rude").await;
    let why = json!({"reason": "it is rude"});
    test.post("alice", &format!("/v3/rooms/{room}/report/{event}"), why.clone()).await.ok();
    test.clock.advance(1000);
    test.post("carol", &format!("/v3/rooms/{room}/report"), json!({"reason": ""})).await.ok();
    test.post("alice", "/v3/users/@bob:hs/report", why).await.ok();
    test.post("alice", &format!("/v3/rooms/{room}/report/{event}"), json!({})).await.ok();

    let all = listed(&test, "").await;
    let reports = all["reports"].as_array().unwrap();
    let kinds: Vec<_> = reports.iter().map(|report| report["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["event", "user", "room", "event"]);
    assert_eq!(all["next"], Value::Null);
    let first = &reports[3];
    let about = |field: &str| first[field].clone();
    assert_eq!(
        (about("reporter"), about("room_id"), about("event_id")),
        (json!("@alice:hs"), json!(room), json!(event))
    );
    assert_eq!(
        (about("sender"), about("reason"), about("ts")),
        (json!("@bob:hs"), json!("it is rude"), json!(1_700_000_000_000_u64))
    );
    assert_eq!(first["event"]["content"]["body"], "rude");
    assert_eq!((&reports[1]["user_id"], &reports[2]["reporter"]), (&json!("@bob:hs"), &json!("@carol:hs")));

    let page = listed(&test, "?limit=3").await;
    assert_eq!(page["reports"].as_array().unwrap()[..], reports[..3]);
    let rest = listed(&test, &format!("?limit=3&before={}", page["next"])).await;
    assert_eq!(rest["reports"].as_array().unwrap()[..], reports[3..]);

    let one = format!("{LIST}/{}", first["number"]);
    test.at(Method::GET, "alice", LIST).await.refused(403, "M_FORBIDDEN");
    test.at(Method::DELETE, "alice", &one).await.refused(403, "M_FORBIDDEN");
    test.at(Method::GET, "", LIST).await.refused(401, "M_MISSING_TOKEN");
    test.at(Method::DELETE, "root", &one).await.ok();
    test.at(Method::DELETE, "root", &one).await.refused(404, "M_NOT_FOUND");
    assert_eq!(listed(&test, "").await["reports"].as_array().unwrap().len(), 3);
    test.at(Method::GET, "root", &format!("{LIST}?before=x")).await.refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn what_is_not_there_or_not_for_the_user_cannot_be_reported() {
    let test = server().await;
    let room = test.room("bob", json!({})).await;
    let event = test.say("bob", &room, "private").await;
    let why = || json!({"reason": "x"});
    test.post("alice", &format!("/v3/rooms/{room}/report/{event}"), why()).await.refused(404, "M_NOT_FOUND");
    test.post("bob", &format!("/v3/rooms/{room}/report/$none"), why()).await.refused(404, "M_NOT_FOUND");
    test.post("alice", "/v3/rooms/!none:hs/report", why()).await.refused(404, "M_NOT_FOUND");
    test.post("alice", "/v3/users/@none:hs/report", why()).await.refused(404, "M_NOT_FOUND");
    test.post("alice", "/v3/users/@none:elsewhere/report", why()).await.refused(404, "M_NOT_FOUND");
    test.post("", &format!("/v3/rooms/{room}/report"), why()).await.refused(401, "M_MISSING_TOKEN");
    assert_eq!(listed(&test, "").await, json!({"reports": []}));
}

#[tokio::test]
async fn administrators_see_who_is_logged_in_and_users_see_themselves() {
    let test = server().await;
    let user = test.app.users.accounts.find("alice").await.unwrap().unwrap().num;
    let tokens = users::tokens::NewTokens { access: "a", expires_ts: None, refresh: None };
    for id in ["PHONE", "DESK"] {
        let device = users::devices::NewDevice { device_id: id.into(), display_name: None, tokens };
        test.app.users.devices.create(user, &device).await.unwrap();
    }
    test.app.users.devices.seen(user, "PHONE".into(), "192.0.2.7".parse().unwrap());
    let seen = json!({"sessions": [{"connections": [{"ip": "192.0.2.7", "last_seen": 1_700_000_000_000_u64, "user_agent": null}]}]});
    let expected = json!({"user_id": "@alice:hs", "devices": {"PHONE": seen, "DESK": {"sessions": [{}]}}});
    assert_eq!(test.get("alice", "/v3/admin/whois/@alice:hs").await.ok(), expected);
    assert_eq!(test.get("root", "/v3/admin/whois/@alice:hs").await.ok(), expected);
    test.get("bob", "/v3/admin/whois/@alice:hs").await.refused(403, "M_FORBIDDEN");
    test.get("root", "/v3/admin/whois/@none:hs").await.refused(404, "M_NOT_FOUND");
    test.get("root", "/v3/admin/whois/@alice:elsewhere").await.refused(404, "M_NOT_FOUND");
}
