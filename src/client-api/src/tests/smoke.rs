use serde_json::json;

use crate::testing::TestApp;

#[tokio::test]
async fn only_known_tokens_open_anything() {
    let test = TestApp::new(&["alice"]).await;
    test.get("", "/v3/sync").await.refused(401, "M_MISSING_TOKEN");
    test.get("mallory", "/v3/sync").await.refused(401, "M_UNKNOWN_TOKEN");
    assert!(test.sync("alice", None).await["next_batch"].is_string());
    test.post("alice", "/v3/nothing", json!({})).await.refused(404, "M_UNRECOGNIZED");
}
