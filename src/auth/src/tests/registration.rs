use super::*;
use crate::{RegistrationTokenError, Secret};

const VALIDITY: &str = "/_matrix/client/v1/register/m.login.registration_token/validity";
const AVAILABLE: &str = "/_matrix/client/v3/register/available";

fn by_token() -> AuthConfig {
    let mut config = config();
    config.registration.without_verification = false;
    config.registration.tokens = vec![Secret::from("for-friends".to_owned())];
    config
}

fn dummy(name: &str) -> Value {
    json!({ "username": name, "password": PASSWORD, "auth": { "type": "m.login.dummy" } })
}

fn with_token(name: &str, token: &str) -> Value {
    let auth = json!({ "type": "m.login.registration_token", "token": token });
    json!({ "username": name, "password": PASSWORD, "auth": auth })
}

#[tokio::test]
async fn one_request_with_dummy_is_enough() {
    let server = Server::new();
    let (status, body) = server.post(REGISTER, None, dummy("user-UPPER")).await;
    assert_eq!((status, &body["user_id"]), (200, &json!("@user-upper:example.org")));
    let token = text(&body, "access_token");
    assert!(token.starts_with("cp_") && token.len() == 3 + 43, "{token}");
    assert_eq!(body.get("refresh_token"), None);
    let who = server.get(WHOAMI, Some(&token)).await;
    assert_eq!(who, (200, json!({ "user_id": body["user_id"], "device_id": body["device_id"] })));
}

#[tokio::test]
async fn without_auth_come_the_flows_and_a_session() {
    let server = Server::new();
    let (status, flows) = server.post(REGISTER, None, json!({})).await;
    assert_eq!((status, &flows["flows"]), (401, &json!([{ "stages": ["m.login.dummy"] }])));
    assert_eq!(flows["params"], json!({}));
    let mut request = dummy("ann");
    request["auth"]["session"] = flows["session"].clone();
    let (status, body) = server.post(REGISTER, None, request.clone()).await;
    assert_eq!((status, &body["user_id"]), (200, &json!("@ann:example.org")));
    assert_code(&server.post(REGISTER, None, request).await, 400, "M_USER_IN_USE");
}

#[tokio::test]
async fn a_device_and_a_refresh_token_can_be_asked_for_and_a_log_in_declined() {
    let server = Server::new();
    let mut request = dummy("ann");
    request["device_id"] = "PHONE".into();
    request["initial_device_display_name"] = "my phone".into();
    request["refresh_token"] = true.into();
    let (_, body) = server.post(REGISTER, None, request).await;
    assert_eq!((&body["device_id"], &body["expires_in_ms"]), (&json!("PHONE"), &json!(3_600_000)));
    assert!(text(&body, "refresh_token").starts_with("cpr_"));
    let mut request = dummy("bob");
    request["inhibit_login"] = true.into();
    let (status, body) = server.post(REGISTER, None, request).await;
    assert_eq!((status, &body["user_id"]), (200, &json!("@bob:example.org")));
    assert_eq!(body.get("access_token"), None);
    assert_eq!(server.log_in("bob", PASSWORD).await.0, 200);
}

#[tokio::test]
async fn a_name_is_found_for_who_has_none() {
    let server = Server::new();
    let request = json!({ "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
    let (status, body) = server.post(REGISTER, None, request).await;
    assert_eq!(status, 200);
    assert_eq!(text(&body, "user_id").len(), "@:example.org".len() + 12, "{body}");
}

#[tokio::test]
async fn bad_names_and_passwords_are_refused_before_the_flows() {
    let server = Server::new();
    for name in
        ["a!b", "a\"b", "a:b", "a?b", "a\\b", "a@b", "[a]", "a{}", "a|b", "£", "é", "\n", "'a'", &"x".repeat(250)]
    {
        assert_code(&server.post(REGISTER, None, dummy(name)).await, 400, "M_INVALID_USERNAME");
    }
    for name in ["q", "3", "a.b", "_a", "a=b", "a-b", "a/b"] {
        assert_eq!(server.post(REGISTER, None, dummy(name)).await.0, 200, "{name}");
    }
    assert_code(&server.post(REGISTER, None, dummy("Q")).await, 400, "M_USER_IN_USE");
    for password in ["seven77", &"x".repeat(513)] {
        let request = json!({ "username": "new", "password": password });
        assert_code(&server.post(REGISTER, None, request).await, 400, "M_WEAK_PASSWORD");
    }
    let request = json!({ "username": "new", "auth": { "type": "m.login.dummy" } });
    let answer = server.post(REGISTER, None, request).await;
    assert_code(&answer, 400, "M_MISSING_PARAM");
    assert_eq!(answer.1["field"], "password");
}

#[tokio::test]
async fn guests_application_services_and_odd_bodies_are_refused() {
    let server = Server::new();
    let guest = server.post(&format!("{REGISTER}?kind=guest"), None, json!({})).await;
    assert_code(&guest, 403, "M_GUEST_ACCESS_FORBIDDEN");
    let odd = server.post(&format!("{REGISTER}?kind=ghost"), None, json!({})).await;
    assert_code(&odd, 400, "M_INVALID_PARAM");
    assert_eq!(server.post(&format!("{REGISTER}?kind=user"), None, json!({})).await.0, 401);
    let service = json!({ "type": "m.login.application_service", "username": "bot" });
    assert_code(&server.post(REGISTER, None, service).await, 401, "M_MISSING_TOKEN");
    let odd = server.post(REGISTER, None, json!({ "username": 3 })).await;
    assert_code(&odd, 400, "M_BAD_JSON");
    assert_eq!(odd.1["field"], "username");
    let broken = server.call(Method::POST, REGISTER, None, "{".into()).await;
    assert_code(&broken, 400, "M_NOT_JSON");
    let large = server.call(Method::POST, REGISTER, None, "x".repeat(70_000).into()).await;
    assert_code(&large, 413, "M_TOO_LARGE");
    let long_device = json!({ "username": "ann", "password": PASSWORD, "device_id": "x".repeat(256),
        "auth": { "type": "m.login.dummy" } });
    assert_code(&server.post(REGISTER, None, long_device).await, 400, "M_INVALID_PARAM");
    // Nothing of the refused one is left.
    assert_eq!(server.post(REGISTER, None, dummy("ann")).await.0, 200);
}

#[tokio::test]
async fn when_registration_is_off_nobody_registers() {
    let mut config = config();
    config.registration.enabled = false;
    let server = Server::with(config);
    assert_code(&server.post(REGISTER, None, dummy("ann")).await, 403, "M_FORBIDDEN");
    assert_code(&server.get(&format!("{AVAILABLE}?username=ann"), None).await, 403, "M_FORBIDDEN");
    assert_code(&server.get(&format!("{VALIDITY}?token=x"), None).await, 403, "M_FORBIDDEN");
}

#[tokio::test]
async fn names_can_be_asked_for() {
    let server = Server::new();
    server.user("ann").await;
    assert_eq!(server.get(&format!("{AVAILABLE}?username=bob"), None).await, (200, json!({ "available": true })));
    assert_code(&server.get(&format!("{AVAILABLE}?username=Ann"), None).await, 400, "M_USER_IN_USE");
    assert_code(&server.get(&format!("{AVAILABLE}?username=a%2Cb"), None).await, 400, "M_INVALID_USERNAME");
    assert_code(&server.get(AVAILABLE, None).await, 400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn a_configured_token_lets_any_number_register_and_dummy_nobody() {
    let server = Server::with(by_token());
    let (status, flows) = server.post(REGISTER, None, json!({})).await;
    assert_eq!((status, &flows["flows"]), (401, &json!([{ "stages": ["m.login.registration_token"] }])));
    assert_code(&server.post(REGISTER, None, dummy("ann")).await, 401, "M_FORBIDDEN");
    assert_code(&server.post(REGISTER, None, with_token("ann", "for-foes")).await, 401, "M_UNAUTHORIZED");
    let no_token = json!({ "username": "ann", "auth": { "type": "m.login.registration_token" } });
    assert_code(&server.post(REGISTER, None, no_token).await, 400, "M_MISSING_PARAM");
    for name in ["ann", "bob"] {
        assert_eq!(server.post(REGISTER, None, with_token(name, "for-friends")).await.0, 200);
    }
    let valid = async |token: &str| server.get(&format!("{VALIDITY}?token={token}"), None).await;
    assert_eq!(valid("for-friends").await, (200, json!({ "valid": true })));
    assert_eq!(valid("for-foes").await, (200, json!({ "valid": false })));
    assert_eq!(valid("%20").await, (200, json!({ "valid": false })));
}

#[tokio::test]
async fn with_both_ways_on_either_will_do() {
    let mut config = by_token();
    config.registration.without_verification = true;
    let server = Server::with(config);
    let (_, flows) = server.post(REGISTER, None, json!({})).await;
    assert_eq!(flows["flows"].as_array().unwrap().len(), 2);
    assert_eq!(server.post(REGISTER, None, dummy("ann")).await.0, 200);
    assert_eq!(server.post(REGISTER, None, with_token("bob", "for-friends")).await.0, 200);
}

#[tokio::test]
async fn a_stored_token_has_uses_and_an_end() {
    let server = Server::with(by_token());
    let tokens = &server.auth.registration_tokens;
    tokens.create("twice", Some(2), None).await.unwrap();
    tokens.create("today", None, Some(server.clock.now_ms() + 1000)).await.unwrap();
    assert!(matches!(tokens.create("twice", None, None).await, Err(RegistrationTokenError::Exists)));
    for bad in ["", "a b", "ä", &"x".repeat(65)] {
        assert!(matches!(tokens.create(bad, None, None).await, Err(RegistrationTokenError::Grammar)), "{bad}");
    }
    // An account that cannot be created costs no use.
    let mut refused = with_token("ann", "twice");
    refused["device_id"] = "x".repeat(256).into();
    for _ in 0..3 {
        assert_code(&server.post(REGISTER, None, refused.clone()).await, 400, "M_INVALID_PARAM");
    }
    for name in ["ann", "bob"] {
        assert_eq!(server.post(REGISTER, None, with_token(name, "twice")).await.0, 200);
    }
    assert_code(&server.post(REGISTER, None, with_token("carl", "twice")).await, 401, "M_UNAUTHORIZED");
    assert_eq!(server.post(REGISTER, None, with_token("carl", "today")).await.0, 200);
    server.clock.advance(1000);
    assert_code(&server.post(REGISTER, None, with_token("dora", "today")).await, 401, "M_UNAUTHORIZED");
    tokens.create("gone", None, None).await.unwrap();
    tokens.delete("gone").await.unwrap();
    assert!(!tokens.is_valid("gone").await.unwrap());
}

#[tokio::test]
async fn of_many_that_race_for_the_last_use_one_registers() {
    let server = Server::with(by_token());
    server.auth.registration_tokens.create("once", Some(1), None).await.unwrap();
    let names: Vec<String> = (0..8).map(|index| format!("user{index}")).collect();
    let answers =
        futures::future::join_all(names.iter().map(|name| server.post(REGISTER, None, with_token(name, "once")))).await;
    assert_eq!(answers.iter().filter(|answer| answer.0 == 200).count(), 1, "{answers:?}");
}
