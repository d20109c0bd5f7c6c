use super::*;

fn limited() -> AuthConfig {
    let mut config = config();
    config.limits.enabled = true;
    config.limits.login_per_ip = http_kit::LimitConfig::new(1.0, 3);
    config.limits.login_per_user = http_kit::LimitConfig::new(1.0, 2);
    config.limits.login_per_user_and_ip = http_kit::LimitConfig::new(1.0, 2);
    config.limits.registration_per_ip = http_kit::LimitConfig::new(1.0, 2);
    config.limits.names_per_ip = http_kit::LimitConfig::new(1.0, 4);
    config
}

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

async fn log_in(server: &Server, from: u8, name: &str, password: &str) -> Answer {
    let body = password_login(name, password).to_string();
    server.call_from(ip(from), Method::POST, LOGIN, None, body.into()).await
}

#[tokio::test]
async fn an_address_can_try_so_often() {
    let server = Server::with(limited());
    for name in ["a", "b", "c"] {
        assert_code(&log_in(&server, 1, name, "x").await, 403, "M_FORBIDDEN");
    }
    let limited = log_in(&server, 1, "d", "x").await;
    assert_code(&limited, 429, "M_LIMIT_EXCEEDED");
    assert_eq!(limited.1["retry_after_ms"], 1000);
    assert_code(&log_in(&server, 2, "d", "x").await, 403, "M_FORBIDDEN");
    server.clock.advance(1000);
    assert_code(&log_in(&server, 1, "e", "x").await, 403, "M_FORBIDDEN");
}

#[tokio::test]
async fn an_account_can_be_tried_so_often_from_all_addresses_together() {
    let server = Server::with(limited());
    server.user("ann").await;
    for (from, name) in [(1, "ann"), (2, "@ANN:example.org")] {
        assert_code(&log_in(&server, from, name, "x").await, 403, "M_FORBIDDEN");
    }
    assert_code(&log_in(&server, 3, "Ann", PASSWORD).await, 429, "M_LIMIT_EXCEEDED");
    assert_code(&log_in(&server, 4, "bob", "x").await, 403, "M_FORBIDDEN");
    server.clock.advance(1000);
    assert_eq!(log_in(&server, 3, "Ann", PASSWORD).await.0, 200);
}

#[tokio::test]
async fn who_tries_wrong_passwords_keeps_nobody_else_out() {
    let mut config = limited();
    config.limits.login_per_ip = http_kit::LimitConfig::new(1.0, 100);
    config.limits.login_per_user = http_kit::LimitConfig::new(1.0, 4);
    let server = Server::with(config);
    server.user("ann").await;
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(log_in(&server, 1, "ann", "x").await.0);
    }
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 48);
    assert_eq!(log_in(&server, 2, "ann", PASSWORD).await.0, 200);
}

#[tokio::test]
async fn confirming_is_trying_too() {
    let server = Server::with(limited());
    let (token, device) = server.user("ann").await;
    let path = format!("/_matrix/client/v3/devices/{device}");
    let body = json!({ "auth": password_login("ann", "x") }).to_string();
    for _ in 0..2 {
        let answer = server.call(Method::DELETE, &path, Some(&token), body.clone().into()).await;
        assert_code(&answer, 401, "M_FORBIDDEN");
    }
    let answer = server.call(Method::DELETE, &path, Some(&token), body.into()).await;
    assert_code(&answer, 429, "M_LIMIT_EXCEEDED");
}

#[tokio::test]
async fn accounts_and_names_are_limited_by_address() {
    let server = Server::with(limited());
    let register = async |from: u8, name: &str| {
        let body = json!({ "username": name, "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
        server.call_from(ip(from), Method::POST, REGISTER, None, body.to_string().into()).await
    };
    assert_eq!(register(1, "a").await.0, 200);
    assert_eq!(register(1, "b").await.0, 200);
    assert_code(&register(1, "c").await, 429, "M_LIMIT_EXCEEDED");
    assert_eq!(register(2, "c").await.0, 200);
    let ask = async || {
        let path = "/_matrix/client/v3/register/available?username=x";
        server.call_from(ip(1), Method::GET, path, None, Body::empty()).await
    };
    assert_eq!(ask().await.0, 200);
    assert_code(&ask().await, 429, "M_LIMIT_EXCEEDED");
}

#[test]
fn the_configuration_has_defaults_and_is_checked() {
    let config: AuthConfig = serde_json::from_value(json!({
        "registration": { "enabled": true, "shared_secret": "complement" },
        "limits": { "login_per_ip": { "burst": 7 } },
    }))
    .unwrap();
    assert!(config.registration.enabled && !config.registration.without_verification);
    assert!(!format!("{config:?}").contains("complement"));
    assert_eq!((config.password.min_length, config.limits.login_per_ip.burst), (8, 7));
    assert!(serde_json::from_value::<AuthConfig>(json!({ "registration": { "enable": true } })).is_err());

    let mut bad = super::config();
    bad.password.memory_kib = 0;
    assert!(matches!(try_new(bad), Err(AuthConfigError::Password(_))));
    let mut bad = super::config();
    bad.registration.shared_secret = Some(String::new().into());
    assert!(matches!(try_new(bad), Err(AuthConfigError::Empty(_))));
    let mut bad = super::config();
    bad.registration.tokens = vec![String::new().into()];
    assert!(matches!(try_new(bad), Err(AuthConfigError::Empty(_))));
    let mut bad = super::config();
    bad.interactive.session_seconds = 0;
    assert!(matches!(try_new(bad), Err(AuthConfigError::Zero(_))));
}

fn try_new(config: AuthConfig) -> Result<Arc<Auth>, AuthConfigError> {
    parts(config).map(|(auth, ..)| auth)
}
