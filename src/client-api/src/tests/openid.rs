use serde_json::json;

use crate::testing::TestApp;

#[tokio::test]
async fn a_token_proves_who_asked_for_it() {
    let app = TestApp::new(&["alice", "bob"]).await;
    let path = "/v3/user/@alice:hs/openid/request_token";
    let made = app.post("alice", path, json!({})).await.ok();
    assert_eq!((&made["matrix_server_name"], &made["expires_in"]), (&json!("hs"), &json!(3600)));
    let token = made["access_token"].as_str().unwrap();
    assert_eq!(app.app.users.openid.user_of(token).await.unwrap(), "@alice:hs");
    app.post("bob", path, json!({})).await.refused(403, "M_FORBIDDEN");
    app.post("", path, json!({})).await.refused(401, "M_MISSING_TOKEN");
    // It opens nothing else.
    app.get(token, "/v3/joined_rooms").await.refused(401, "M_UNKNOWN_TOKEN");
}
