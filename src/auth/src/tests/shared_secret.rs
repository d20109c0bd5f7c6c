use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::*;

const PATH: &str = "/_synapse/admin/v1/register";

fn server() -> Server {
    let mut config = config();
    config.registration.enabled = false;
    config.registration.shared_secret = Some("complement".to_owned().into());
    Server::with(config)
}

fn mac(key: &str, parts: &[&str]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(parts.join("\0").as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

async fn nonce(server: &Server) -> String {
    let (status, body) = server.get(PATH, None).await;
    assert_eq!(status, 200);
    text(&body, "nonce")
}

async fn register(server: &Server, user: &str, admin: bool) -> Answer {
    let nonce = nonce(server).await;
    let mac = mac("complement", &[&nonce, user, PASSWORD, if admin { "admin" } else { "notadmin" }]);
    let body = json!({ "nonce": nonce, "username": user, "password": PASSWORD, "mac": mac, "admin": admin });
    server.post(PATH, None, body).await
}

#[test]
fn the_mac_is_the_one_that_synapse_makes() {
    // From RFC 2202, test case 2: the key and one part without separators.
    assert_eq!(mac("Jefe", &["what do ya want for nothing?"]), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
}

#[tokio::test]
async fn users_and_administrators_are_made() {
    let server = server();
    let (status, body) = register(&server, "user-UPPER", false).await;
    assert_eq!((status, &body["user_id"]), (200, &json!("@user-upper:example.org")));
    assert_eq!(body["home_server"], "example.org");
    assert!(body["device_id"].is_string() && server.works(&text(&body, "access_token")).await);
    let (_, body) = register(&server, "root", true).await;
    let headers = http::HeaderMap::new();
    let uri = http::Uri::from_static("/");
    let meta = http_kit::RequestMeta::new(&headers, &uri, None);
    assert!(server.auth.authenticate(&text(&body, "access_token"), meta).await.unwrap().admin);
    assert_eq!(server.log_in("root", PASSWORD).await.0, 200);
    assert_code(&register(&server, "root", false).await, 400, "M_USER_IN_USE");
    assert_code(&register(&server, "a!b", false).await, 400, "M_INVALID_USERNAME");
}

#[tokio::test]
async fn a_name_to_show_and_no_log_in() {
    let server = server();
    let nonce = nonce(&server).await;
    let mac = mac("complement", &[&nonce, "bot", PASSWORD, "notadmin", "bot"]);
    let body = json!({ "nonce": nonce, "username": "bot", "password": PASSWORD, "mac": mac, "user_type": "bot",
        "displayname": "The Bot", "inhibit_login": true });
    let (status, body) = server.post(PATH, None, body).await;
    assert_eq!((status, body), (200, json!({ "user_id": "@bot:example.org", "home_server": "example.org" })));
    let account = server.auth.users.accounts.find("bot").await.unwrap().unwrap();
    let name = server.auth.users.profiles.get(account.num, "displayname").await.unwrap().unwrap();
    assert_eq!(name.get(), r#""The Bot""#);
}

#[tokio::test]
async fn a_nonce_is_good_once_and_the_mac_must_be_right() {
    let server = server();
    let first = nonce(&server).await;
    let body =
        |nonce: &str, mac: String| json!({ "nonce": nonce, "username": "ann", "password": PASSWORD, "mac": mac });
    let wrong = body(&first, mac("guess", &[&first, "ann", PASSWORD, "notadmin"]));
    assert_code(&server.post(PATH, None, wrong).await, 403, "M_UNKNOWN");
    let used = body(&first, mac("complement", &[&first, "ann", PASSWORD, "notadmin"]));
    assert_code(&server.post(PATH, None, used).await, 400, "M_UNKNOWN");
    let late = nonce(&server).await;
    server.clock.advance(60_000);
    let late = body(&late, mac("complement", &[&late, "ann", PASSWORD, "notadmin"]));
    assert_code(&server.post(PATH, None, late).await, 400, "M_UNKNOWN");
    // Who may only make users cannot make an administrator of one.
    let other = nonce(&server).await;
    let mut raised = body(&other, mac("complement", &[&other, "ann", PASSWORD, "notadmin"]));
    raised["admin"] = true.into();
    assert_code(&server.post(PATH, None, raised).await, 403, "M_UNKNOWN");
    let odd = nonce(&server).await;
    assert_code(&server.post(PATH, None, body(&odd, "not hex".into())).await, 403, "M_UNKNOWN");
    assert_code(&server.post(PATH, None, json!({ "nonce": "x" })).await, 400, "M_MISSING_PARAM");
    assert!(server.auth.users.accounts.find("ann").await.unwrap().is_none());
}

#[tokio::test]
async fn without_a_secret_it_is_off() {
    let server = Server::new();
    assert_code(&server.get(PATH, None).await, 400, "M_UNKNOWN");
    let body = json!({ "nonce": "", "username": "a", "password": "b", "mac": "" });
    assert_code(&server.post(PATH, None, body).await, 400, "M_UNKNOWN");
}
