use super::*;

const UPLOAD: &str = "/_matrix/client/v3/keys/device_signing/upload";
const ACCOUNT: &str = "/_cliquepay/account";

fn master(key: &str) -> Value {
    let name = format!("ed25519:{key}");
    json!({ "master_key": { "user_id": "@ann:example.org", "usage": ["master"], "keys": { name: key } } })
}

fn with_session(mut body: Value, session: &str) -> Value {
    body["auth"] = json!({ "session": session });
    body
}

/// Logs somebody in on a page of the account, and agrees to what it says.
async fn agree(server: &Server, user: &str, url: &str, words: &str) -> Page {
    let mut browser = server.browser();
    let page = browser.get(url).await;
    let page = browser.submit(&page, &[("username", user), ("password", PASSWORD)]).await;
    let page = browser.get(&page.location()).await;
    let page = browser.get(&page.location()).await;
    page.assert_shows(200, words);
    let names = ["action", "device_id", "session", "csrf"].into_iter();
    let fields: Vec<_> = names
        .filter(|name| page.body.contains(&format!("name=\"{name}\" value")))
        .map(|name| (name, page.field(name)))
        .collect();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.post(ACCOUNT, &fields).await
}

#[tokio::test]
async fn an_app_has_cross_signing_keys_replaced_when_its_user_agrees_on_the_page() {
    let server = Server::with_oauth();
    server.user("ann").await;
    server.user("eve").await;
    let app = server.app().await;
    let (token, _) = app.log_in("ann", "PHONE").await;
    assert_eq!(server.post(UPLOAD, Some(&token), master("AAAA")).await, (200, json!({})));
    let (status, asked) = server.post(UPLOAD, Some(&token), master("BBBB")).await;
    assert_eq!(status, 401);
    assert_eq!(asked["flows"], json!([{ "stages": ["m.oauth"] }, { "stages": ["org.matrix.cross_signing_reset"] }]));
    let session = text(&asked, "session");
    let url = text(&asked["params"]["m.oauth"], "url");
    assert_eq!(url, format!("{BASE}{ACCOUNT}?action=org.matrix.cross_signing_reset&session={session}"));
    assert_eq!(asked["params"]["org.matrix.cross_signing_reset"]["url"], url);
    // Asking whether it was done does nothing, nor does naming the stage, nor a password, nor somebody else's word.
    let named = json!({ "type": "m.oauth", "session": session });
    let by_password = json!({ "type": "m.login.password", "user": "ann", "password": PASSWORD, "session": session });
    for auth in [json!({ "session": session }), named, by_password] {
        let mut body = master("BBBB");
        body["auth"] = auth;
        assert_eq!(server.post(UPLOAD, Some(&token), body).await.0, 401);
    }
    agree(&server, "eve", &url, "Reset your identity").await.assert_shows(200, "Confirmed");
    let with = with_session(master("BBBB"), &session);
    assert_eq!(server.post(UPLOAD, Some(&token), with.clone()).await.0, 401);
    let page = agree(&server, "ann", &url, "Reset your identity").await;
    page.assert_shows(200, "Confirmed");
    // The client that opened the page is told, by the only script there is.
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(page.body.contains("onAuthDone") && policy.contains("script-src 'sha256-"), "{policy}");
    // It is for the very request that was asked about.
    let other = with_session(master("CCCC"), &session);
    assert_code(&server.post(UPLOAD, Some(&token), other).await, 403, "M_FORBIDDEN");
    assert_eq!(server.post(UPLOAD, Some(&token), with).await, (200, json!({})));
    assert_eq!(server.post(UPLOAD, Some(&token), master("CCCC")).await.0, 401);
}

#[tokio::test]
async fn a_reset_that_was_agreed_to_without_a_session_is_good_once_and_for_a_while() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    let (token, _) = app.log_in("ann", "PHONE").await;
    server.post(UPLOAD, Some(&token), master("AAAA")).await;
    let url = format!("{ACCOUNT}?action=org.matrix.cross_signing_reset");
    let legacy = text(&server.log_in("ann", PASSWORD).await.1, "access_token");
    agree(&server, "ann", &url, "Reset your identity").await.assert_shows(200, "Confirmed");
    // A client of the legacy API has its own way.
    let asked = server.post(UPLOAD, Some(&legacy), master("BBBB")).await;
    assert_eq!((asked.0, &asked.1["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
    assert_eq!(server.post(UPLOAD, Some(&token), master("BBBB")).await, (200, json!({})));
    assert_eq!(server.post(UPLOAD, Some(&token), master("CCCC")).await.0, 401);
    agree(&server, "ann", &url, "Reset your identity").await;
    server.clock.advance(600_001);
    let (token, _) = app.log_in("ann", "TABLET").await;
    assert_eq!(server.post(UPLOAD, Some(&token), master("CCCC")).await.0, 401);
}

#[tokio::test]
async fn an_app_logs_another_device_out_when_its_user_agrees_on_the_page() {
    let server = Server::with_oauth();
    let (other, device) = server.user("ann").await;
    let app = server.app().await;
    let (token, _) = app.log_in("ann", "PHONE").await;
    let path = format!("/_matrix/client/v3/devices/{device}");
    let delete = async |body: Value| server.call(Method::DELETE, &path, Some(&token), body.to_string().into()).await;
    let (status, asked) = delete(json!({})).await;
    assert_eq!((status, &asked["flows"]), (401, &json!([{ "stages": ["m.oauth"] }])));
    let (session, url) = (text(&asked, "session"), text(&asked["params"]["m.oauth"], "url"));
    assert!(url.contains("action=org.matrix.device_delete") && url.contains(&format!("device_id={device}")), "{url}");
    agree(&server, "ann", &url, "Log this device out").await.assert_shows(200, "Confirmed");
    assert!(!server.works(&other).await);
    assert_eq!(delete(json!({ "auth": { "session": session } })).await, (200, json!({})));
    // What has no page of its own is said in words; clients that know no other way find the page by the fallback.
    let (third, _) = app.log_in("ann", "THIRD").await;
    let body = json!({ "devices": ["UNKNOWN", "THIRD"] });
    let (_, asked) = server.post("/_matrix/client/v3/delete_devices", Some(&token), body.clone()).await;
    let session = text(&asked, "session");
    let fallback = format!("/_matrix/client/v3/auth/m.oauth/fallback/web?session={session}");
    let url = server.browser().get(&fallback).await.location();
    assert_eq!(url, text(&asked["params"]["m.oauth"], "url"));
    agree(&server, "ann", &url, "to log out several of your devices").await.assert_shows(200, "Confirmed");
    let with = with_session(body, &session);
    assert_eq!(server.post("/_matrix/client/v3/delete_devices", Some(&token), with).await, (200, json!({})));
    assert!(!server.works(&third).await);
    let fallback = "/_matrix/client/v3/auth/m.oauth/fallback/web?session=nothing";
    server.browser().get(fallback).await.assert_shows(400, "is over");
    assert_code(
        &server.get("/_matrix/client/v3/auth/m.login.dummy/fallback/web?session=x", None).await,
        404,
        "M_UNRECOGNIZED",
    );
}
