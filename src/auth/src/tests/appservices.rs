//! Application services: whom they act as, whom they register, and what is kept from others.

use std::path::PathBuf;

use ruma::server_name;

use super::*;
use crate::appservices::{Appservices, AppservicesConfig, Registration, RegistrationError};

const IRC: &str = r#"
id: irc
url: null
as_token: irc-as
hs_token: irc-hs
sender_localpart: irc_bot
rate_limited: true
namespaces:
  users: [{exclusive: true, regex: "@irc_.*:example\\.org"}, {exclusive: false, regex: "@shared_.*"}]
"#;

const LOGGER: &str = r#"
id: logger
url: null
as_token: log-as
hs_token: log-hs
sender_localpart: logger
rate_limited: false
namespaces:
  users: [{exclusive: false, regex: "@.*"}]
"#;

fn services(texts: &[&str]) -> Result<Appservices, RegistrationError> {
    let parse = |(index, text): (usize, &&str)| {
        let file = PathBuf::from(format!("{index}.yaml"));
        Ok((Registration::parse(&file, text, server_name!("example.org"))?, file))
    };
    Appservices::of(texts.iter().enumerate().map(parse).collect::<Result<_, _>>()?)
}

async fn server() -> Server {
    let mut config = config();
    config.appservices = Arc::new(services(&[IRC, LOGGER]).unwrap());
    let server = Server::with(config);
    server.auth.create_service_senders().await.unwrap();
    server
}

impl Server {
    async fn ghost(&self, name: &str) -> Answer {
        let body = json!({"type": "m.login.application_service", "username": name, "inhibit_login": true});
        self.post(REGISTER, Some("irc-as"), body).await
    }
}

#[tokio::test]
async fn a_service_is_its_sender_or_whom_it_names() {
    let server = server().await;
    // What is there already is not made again.
    server.auth.create_service_senders().await.unwrap();
    let who = async |query: &str| server.get(&format!("{WHOAMI}?{query}"), Some("irc-as")).await;
    assert_eq!(who("").await, (200, json!({"user_id": "@irc_bot:example.org"})));
    assert_code(&who("user_id=@irc_ann:example.org").await, 403, "M_FORBIDDEN");
    assert_eq!(server.ghost("irc_ann").await, (200, json!({"user_id": "@irc_ann:example.org"})));
    assert_eq!(who("user_id=%40irc_ann:example.org").await.1["user_id"], "@irc_ann:example.org");
    server.user("ben").await;
    for stranger in ["@ben:example.org", "@irc_ann:elsewhere.org", "nobody", ""] {
        assert_code(&who(&format!("user_id={stranger}")).await, 403, "M_FORBIDDEN");
    }
    // A token in the query is one, too.
    assert_eq!(server.get(&format!("{WHOAMI}?access_token=irc-as"), None).await.0, 200);
    assert_code(&server.get(WHOAMI, Some("irc-hs")).await, 401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn devices_are_made_by_the_service_and_taken_by_name() {
    let server = server().await;
    server.ghost("irc_ann").await;
    let device = "/_matrix/client/v3/devices/BRIDGE?user_id=@irc_ann:example.org";
    let put =
        async |path: &str, body: Value| server.call(Method::PUT, path, Some("irc-as"), body.to_string().into()).await;
    let as_device = async |field: &str| {
        server.get(&format!("{WHOAMI}?user_id=@irc_ann:example.org&{field}=BRIDGE"), Some("irc-as")).await
    };
    assert_code(&as_device("device_id").await, 400, "M_UNKNOWN_DEVICE");
    assert_eq!(put(device, json!({"display_name": "a bridge"})).await, (201, json!({})));
    assert_eq!(put(device, json!({})).await, (200, json!({})));
    assert_eq!(put(device, json!({"display_name": "the bridge"})).await, (200, json!({})));
    assert_eq!(server.get(device, Some("irc-as")).await.1["display_name"], "the bridge");
    for field in ["device_id", "org.matrix.msc3202.device_id"] {
        assert_eq!(as_device(field).await.1["device_id"], "BRIDGE");
    }
    // The sender has no such device.
    assert_code(&server.get(&format!("{WHOAMI}?device_id=BRIDGE"), Some("irc-as")).await, 400, "M_UNKNOWN_DEVICE");
    // Without confirming anything.
    assert_eq!(server.call(Method::DELETE, device, Some("irc-as"), "{}".into()).await, (200, json!({})));
    assert_code(&as_device("device_id").await, 400, "M_UNKNOWN_DEVICE");
    // Others make devices by logging in.
    let (token, _) = server.user("ben").await;
    let made = server.call(Method::PUT, "/_matrix/client/v3/devices/X", Some(&token), "{}".into()).await;
    assert_code(&made, 404, "M_NOT_FOUND");
}

#[tokio::test]
async fn rate_limits_hold_for_a_services_users_and_not_for_its_sender() {
    let server = server().await;
    server.ghost("irc_ann").await;
    let limited = async |token: &str, query: &str| {
        let (headers, uri) = (http::HeaderMap::new(), format!("/?{query}").parse().unwrap());
        let meta = http_kit::RequestMeta::new(&headers, &uri, None);
        server.auth.authenticate(token, meta).await.unwrap().appservice.as_ref().unwrap().rate_limited
    };
    assert!(!limited("irc-as", "").await);
    assert!(limited("irc-as", "user_id=@irc_ann:example.org").await);
    assert!(!limited("log-as", "user_id=@irc_ann:example.org").await);
}

#[tokio::test]
async fn a_namespace_is_kept_from_others() {
    let server = server().await;
    let register = async |name: &str| {
        let auth = json!({"type": "m.login.dummy"});
        server.post(REGISTER, None, json!({"username": name, "password": PASSWORD, "auth": auth})).await
    };
    for taken in ["irc_ann", "IRC_ann", "irc_bot", "logger"] {
        assert_code(&register(taken).await, 400, "M_EXCLUSIVE");
    }
    let available = server.get("/_matrix/client/v3/register/available?username=irc_x", None).await;
    assert_code(&available, 400, "M_EXCLUSIVE");
    // One that is not exclusive is for everybody.
    assert_eq!(register("shared_ann").await.0, 200);
    // Nor has a service what is not in its namespaces, or is another's alone.
    assert_code(&server.ghost("ben").await, 400, "M_EXCLUSIVE");
    let body = json!({"type": "m.login.application_service", "username": "irc_ben", "inhibit_login": true});
    assert_code(&server.post(REGISTER, Some("log-as"), body).await, 400, "M_EXCLUSIVE");
    assert_eq!(server.ghost("irc_Ann").await.1["user_id"], "@irc_Ann:example.org");
    assert_code(&server.ghost("irc_Ann").await, 400, "M_USER_IN_USE");
    assert_code(&server.ghost("irc_a:b").await, 400, "M_INVALID_USERNAME");
    assert_code(&server.ghost("").await, 400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn a_service_logs_its_users_in() {
    let server = server().await;
    let body = json!({"type": "m.login.application_service", "username": "irc_ann", "device_id": "A"});
    let (status, made) = server.post(REGISTER, Some("irc-as"), body.clone()).await;
    assert_eq!((status, &made["device_id"]), (200, &json!("A")));
    assert!(server.works(&text(&made, "access_token")).await);
    let login = |name: &str| {
        let identifier = json!({"type": "m.id.user", "user": name});
        json!({"type": "m.login.application_service", "identifier": identifier, "device_id": "B"})
    };
    for name in ["irc_ann", "@irc_ann:example.org"] {
        let (status, body) = server.post(LOGIN, Some("irc-as"), login(name)).await;
        assert_eq!((status, &body["user_id"]), (200, &json!("@irc_ann:example.org")));
        assert!(server.works(&text(&body, "access_token")).await);
    }
    assert_code(&server.post(LOGIN, Some("irc-as"), login("ben")).await, 400, "M_EXCLUSIVE");
    assert_code(&server.post(LOGIN, Some("irc-as"), login("@irc_ann:elsewhere.org")).await, 400, "M_EXCLUSIVE");
    assert_code(&server.post(LOGIN, Some("irc-as"), login("irc_nobody")).await, 403, "M_FORBIDDEN");
    // Only a service does.
    let (ben, _) = server.user("ben").await;
    for (path, body) in [(REGISTER, body), (LOGIN, login("irc_ann"))] {
        assert_code(&server.post(path, None, body.clone()).await, 401, "M_MISSING_TOKEN");
        assert_code(&server.post(path, Some("wrong"), body.clone()).await, 401, "M_UNKNOWN_TOKEN");
        assert_code(&server.post(path, Some(&ben), body).await, 401, "M_UNKNOWN_TOKEN");
    }
    // No password opens such an account.
    assert_code(&server.log_in("irc_ann", "").await, 403, "M_FORBIDDEN");
    let (_, flows) = server.get(LOGIN, None).await;
    assert!(flows["flows"].as_array().unwrap().contains(&json!({"type": "m.login.application_service"})), "{flows}");
}

#[tokio::test]
async fn where_nobody_logs_in_no_service_does() {
    let mut config = config();
    config.appservices = Arc::new(services(&[IRC]).unwrap());
    config.password.enabled = false;
    let server = Server::with(config);
    server.auth.create_service_senders().await.unwrap();
    let mut body = json!({"type": "m.login.application_service", "username": "irc_ann"});
    let register = async |body: &Value| server.post(REGISTER, Some("irc-as"), body.clone()).await;
    assert_code(&register(&body).await, 400, "M_APPSERVICE_LOGIN_UNSUPPORTED");
    body["inhibit_login"] = true.into();
    assert_eq!(register(&body).await.0, 200);
    let identifier = json!({"type": "m.id.user", "user": "irc_ann"});
    let login = json!({"type": "m.login.application_service", "identifier": identifier});
    assert_code(&server.post(LOGIN, Some("irc-as"), login).await, 400, "M_APPSERVICE_LOGIN_UNSUPPORTED");
}

#[tokio::test]
async fn nobody_acts_as_an_account_that_was_closed() {
    let server = server().await;
    server.ghost("irc_ann").await;
    let query = "?user_id=@irc_ann:example.org";
    assert_eq!(server.get(&format!("{WHOAMI}{query}"), Some("irc-as")).await.0, 200);
    let close = format!("/_matrix/client/v3/account/deactivate{query}");
    assert_eq!(server.post(&close, Some("irc-as"), json!({})).await.0, 200);
    assert_code(&server.get(&format!("{WHOAMI}{query}"), Some("irc-as")).await, 403, "M_FORBIDDEN");
}

#[tokio::test]
async fn nor_as_one_that_is_locked_and_a_suspended_one_stays_so() {
    let server = server().await;
    server.ghost("irc_ann").await;
    let num = server.auth.users.accounts.find("irc_ann").await.unwrap().unwrap().num;
    let whoami = format!("{WHOAMI}?user_id=@irc_ann:example.org");
    let suspended = async || {
        let (headers, uri) = (http::HeaderMap::new(), whoami.parse().unwrap());
        let meta = http_kit::RequestMeta::new(&headers, &uri, None);
        server.auth.authenticate("irc-as", meta).await.unwrap().suspended
    };
    assert!(!suspended().await);
    server.auth.set_suspended(num, true).await.unwrap();
    assert!(suspended().await);
    server.auth.set_locked(num, true).await.unwrap();
    assert_code(&server.get(&whoami, Some("irc-as")).await, 401, "M_USER_LOCKED");
    let login = json!({"type": "m.login.application_service", "identifier": {"type": "m.id.user", "user": "irc_ann"}});
    assert_code(&server.post(LOGIN, Some("irc-as"), login).await, 401, "M_USER_LOCKED");
    // The service itself goes on.
    assert_eq!(server.get(WHOAMI, Some("irc-as")).await.0, 200);
}

#[test]
fn services_share_nothing_that_tells_them_apart() {
    for field in ["id: irc", "as_token: irc-as", "hs_token: irc-hs", "sender_localpart: irc_bot"] {
        let (name, _) = field.split_once(':').unwrap();
        let other: String =
            LOGGER.lines().map(|line| if line.starts_with(name) { field } else { line }.to_owned() + "\n").collect();
        let error = services(&[IRC, &other]).unwrap_err().to_string();
        assert!(error.contains("0.yaml") && error.contains("1.yaml") && error.contains(name), "{error}");
    }
}

#[test]
fn a_folder_holds_registrations_and_other_things() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("b.yaml"), IRC).unwrap();
    std::fs::write(at("notes.txt"), "not one").unwrap();
    std::fs::create_dir(at("old.yaml")).unwrap();
    std::fs::write(at("a.yml"), LOGGER).unwrap();
    let config = |files: &[&str]| AppservicesConfig {
        folder: Some(folder.path().to_owned()),
        files: files.iter().map(|name| at(name)).collect(),
    };
    let load = |files: &[&str]| Appservices::load(&config(files), server_name!("example.org"));
    let ids: Vec<_> = load(&[]).unwrap().all().iter().map(|service| service.id.to_string()).collect();
    assert_eq!(ids, ["logger", "irc"]);
    assert!(load(&["b.yaml"]).unwrap_err().to_string().contains("b.yaml"));
    assert!(load(&["missing.yaml"]).unwrap_err().to_string().contains("missing.yaml"));
    std::fs::write(at("c.yaml"), "id: [").unwrap();
    assert!(load(&[]).unwrap_err().to_string().contains("c.yaml"));
}
