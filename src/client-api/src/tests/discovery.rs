use http::Method;
use serde_json::{Value, json};
use users::accounts::NewAccount;

use crate::{ClientApiConfig, testing::TestApp};

#[tokio::test]
async fn versions_are_told_to_anybody() {
    let test = TestApp::new(&[]).await;
    let answer = test.get("", "/versions").await.ok();
    let versions: Vec<&str> = answer["versions"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
    for version in ["v1.1", "v1.5", "v1.13", "v1.18", "v1.19"] {
        assert!(versions.contains(&version), "{versions:?}");
    }
    assert_eq!(answer["unstable_features"]["com.cliquepay"], true);
}

#[tokio::test]
async fn well_known_is_there_where_the_operator_set_it() {
    let test = TestApp::new(&[]).await;
    test.absolute(Method::GET, "/.well-known/matrix/client").await.refused(404, "M_NOT_FOUND");
    let config = ClientApiConfig { public_base_url: Some("https://hs.example".to_owned()), ..Default::default() };
    let test = TestApp::with(config, &[]).await;
    let answer = test.absolute(Method::GET, "/.well-known/matrix/client").await.ok();
    assert_eq!(answer, json!({"m.homeserver": {"base_url": "https://hs.example"}}));
}

#[tokio::test]
async fn people_find_help_where_the_operator_says() {
    let path = "/.well-known/matrix/support";
    let test = TestApp::new(&[]).await;
    test.absolute(Method::GET, path).await.refused(404, "M_NOT_FOUND");
    let with = async |support: Value| {
        let config: ClientApiConfig = serde_json::from_value(json!({"support": support})).unwrap();
        TestApp::with(config, &[]).await.absolute(Method::GET, path).await.ok()
    };
    let contacts = json!([
        {"role": "m.role.admin", "matrix_id": "@admin:elsewhere", "email_address": "admin@hs.example"},
        {"role": "m.role.security", "email_address": "security@hs.example"},
    ]);
    let page = "https://hs.example/help";
    assert_eq!(with(json!({"page": page})).await, json!({"support_page": page}));
    let both = json!({"contacts": contacts, "support_page": page});
    assert_eq!(with(json!({"page": page, "contacts": contacts})).await, both);
    let unsaid = with(json!({"contacts": [{"matrix_id": "@admin:hs"}]})).await;
    assert_eq!(unsaid, json!({"contacts": [{"role": "m.role.admin", "matrix_id": "@admin:hs"}]}));
    let nobody = json!({"support": {"contacts": [{"role": "m.role.admin"}]}});
    assert!(serde_json::from_value::<ClientApiConfig>(nobody).unwrap_err().to_string().contains("matrix_id"));
}

#[tokio::test]
async fn administrators_are_told_that_they_moderate_accounts() {
    let test = TestApp::new(&["alice"]).await;
    let root = NewAccount { admin: true, ..NewAccount::user("root") };
    test.app.users.register(root, None).await.unwrap();
    let capability =
        async |who: &str| test.get(who, "/v3/capabilities").await.ok()["capabilities"]["m.account_moderation"].clone();
    assert_eq!(capability("root").await, json!({"lock": true, "suspend": true}));
    assert_eq!(capability("alice").await, Value::Null);
}

#[tokio::test]
async fn capabilities_name_the_versions_that_rooms_can_be_made_in() {
    let test = TestApp::new(&["alice"]).await;
    test.get("", "/v3/capabilities").await.refused(401, "M_MISSING_TOKEN");
    let answer = test.get("alice", "/v3/capabilities").await.ok();
    let capabilities = &answer["capabilities"];
    assert_eq!(capabilities["m.profile_fields"]["enabled"], true);
    let versions = &capabilities["m.room_versions"];
    assert_eq!(versions["default"], "12");
    for (version, stability) in versions["available"].as_object().unwrap() {
        assert_eq!(stability, "stable");
        let room = test.room("alice", json!({"room_version": version})).await;
        assert_eq!(test.state(&room, "m.room.create", "").await["room_version"], *version);
    }
    assert_eq!(versions["available"].as_object().unwrap().len(), 12);
}

#[tokio::test]
async fn where_nobody_has_a_password_nobody_is_said_to_change_it() {
    for enabled in [true, false] {
        let config = ClientApiConfig { password_changes: enabled, ..ClientApiConfig::default() };
        let test = TestApp::with(config, &["alice"]).await;
        let answer = test.get("alice", "/v3/capabilities").await.ok();
        assert_eq!(answer["capabilities"]["m.change_password"], json!({"enabled": enabled}));
    }
}
