use serde_json::json;

use crate::{ClientApiConfig, TurnConfig, testing::TestApp};

const PATH: &str = "/v3/voip/turnServer";

async fn with(turn: TurnConfig) -> TestApp {
    TestApp::with(ClientApiConfig { turn, ..ClientApiConfig::default() }, &["alice"]).await
}

#[tokio::test]
async fn a_relay_is_told_with_credentials_that_end() {
    let uris = vec!["turn:turn.example.org?transport=udp".to_owned()];
    let secret = Some("north star".to_owned().into());
    let test = with(TurnConfig { uris: uris.clone(), shared_secret: secret, ..TurnConfig::default() }).await;
    let told = test.get("alice", PATH).await.ok();
    // HMAC-SHA1 of the name under the secret, as coturn works it out.
    let expected = json!({
        "username": "1700086400:@alice:hs", "password": "QFM5crBRUon/3rhfsV56K1vOSNk=", "uris": uris, "ttl": 86400,
    });
    assert_eq!(told, expected);
    test.get("", PATH).await.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_relay_may_have_one_password_for_all_and_need_not_be_there() {
    let uris = vec!["turns:turn.example.org".to_owned()];
    let turn = TurnConfig {
        uris,
        username: Some("call".to_owned()),
        password: Some("me".to_owned().into()),
        ..TurnConfig::default()
    };
    let told = with(turn).await.get("alice", PATH).await.ok();
    assert_eq!((&told["username"], &told["password"]), (&json!("call"), &json!("me")));
    assert_eq!(with(TurnConfig::default()).await.get("alice", PATH).await.ok(), json!({}));
}
