use http::Method;
use serde_json::json;

use crate::{ClientApiConfig, RtcConfig, testing::TestApp};

const PATH: &str = "/unstable/org.matrix.msc4143/rtc/transports";

#[tokio::test]
async fn clients_learn_who_carries_calls_here_and_before_they_log_in() {
    let transports = json!([
        {"type": "livekit", "livekit_service_url": "https://calls.example.org/jwt"},
        {"type": "org.example.sfu", "url": "https://sfu.example.org", "region": "eu"},
    ]);
    let rtc: RtcConfig = serde_json::from_value(json!({"transports": transports})).unwrap();
    let public_base_url = Some("https://hs.example".to_owned());
    let config = ClientApiConfig { rtc, public_base_url, ..ClientApiConfig::default() };
    let test = TestApp::with(config, &["alice"]).await;
    assert_eq!(test.get("alice", PATH).await.ok(), json!({"rtc_transports": transports}));
    test.get("", PATH).await.refused(401, "M_MISSING_TOKEN");
    let well_known = test.absolute(Method::GET, "/.well-known/matrix/client").await.ok();
    assert_eq!(well_known["org.matrix.msc4143.rtc_foci"], transports);
    assert_eq!(test.get("", "/versions").await.ok()["unstable_features"]["org.matrix.msc4143"], true);
}

#[tokio::test]
async fn nobody_carries_calls_unless_the_operator_says_so() {
    let test = TestApp::new(&["alice"]).await;
    assert_eq!(test.get("alice", PATH).await.ok(), json!({"rtc_transports": []}));
    assert!(test.get("", "/versions").await.ok()["unstable_features"]["org.matrix.msc4143"].is_null());
    for bad in [json!({"transports": [{"url": "x"}]}), json!({"transports": [{"type": "livekit"}]})] {
        assert!(serde_json::from_value::<RtcConfig>(bad).is_err());
    }
}
