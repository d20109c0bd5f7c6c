use super::*;

const LOGOUT: &str = "/_matrix/client/v3/logout";

#[tokio::test]
async fn log_ins_of_apps_end_like_others() {
    let server = Server::with_oauth();
    let (legacy, _) = server.user("ann").await;
    let app = server.app().await;
    // By the legacy API's log-out, by either token, by an old refresh token, from another device, by a new password.
    let (access, refresh) = app.log_in("ann", "ONE").await;
    assert_eq!(server.post(LOGOUT, Some(&access), json!({})).await, (200, json!({})));
    assert_error(&app.refresh(&refresh).await, 400, "invalid_grant");
    let (access, refresh) = app.log_in("ann", "ONE").await;
    let hint = [("token", refresh.as_str()), ("token_type_hint", "refresh_token"), ("client_id", "another")];
    assert_eq!(server.form(REVOKE, &hint).await.0, 200);
    assert!(!server.works(&access).await);
    let (_, refresh) = app.log_in("ann", "ONE").await;
    let fresh = text(&app.refresh(&refresh).await.1, "access_token");
    assert!(server.works(&fresh).await);
    assert_eq!(server.form(REVOKE, &[("token", &refresh)]).await.0, 200);
    assert!(!server.works(&fresh).await);
    let (access, _) = app.log_in("ann", "ONE").await;
    server.clock.advance(400_000);
    assert_eq!(server.form(REVOKE, &[("token", &access)]).await.0, 200);
    let devices = text(&server.get("/_matrix/client/v3/devices", Some(&legacy)).await.1["devices"][0], "device_id");
    assert_ne!(devices, "ONE");
    let (access, _) = app.log_in("ann", "ONE").await;
    let body = json!({ "auth": password_login("ann", PASSWORD) });
    let path = "/_matrix/client/v3/devices/ONE";
    assert_eq!(server.call(Method::DELETE, path, Some(&legacy), body.to_string().into()).await.0, 200);
    assert!(!server.works(&access).await);
    assert_error(&server.form(REVOKE, &[]).await, 400, "invalid_request");
}

#[tokio::test]
async fn what_was_allowed_and_not_fetched_is_taken_back_with_everything_else() {
    let server = Server::with_oauth();
    let (token, _) = server.user("ann").await;
    let app = server.app().await;
    let mut browser = server.browser();
    let answer = app.answer(&mut browser, "ann", &app.url("ONE", &[])).await;
    assert_eq!(server.post(&format!("{LOGOUT}/all"), Some(&token), json!({})).await.0, 200);
    assert_error(&app.exchange(&parameter(&answer, "code")).await, 400, "invalid_grant");
    // The browser is logged out, too.
    browser.get(&app.url("ONE", &[])).await.assert_shows(200, "name=\"password\"");
    let (token, _) = second(&server, "ann").await;
    let code = app.code("ann", "ONE").await;
    let close = json!({ "auth": password_login("ann", PASSWORD) });
    assert_eq!(server.post("/_matrix/client/v3/account/deactivate", Some(&token), close).await.0, 200);
    assert_error(&app.exchange(&code).await, 400, "invalid_grant");
}

async fn second(server: &Server, name: &str) -> (String, String) {
    let (_, body) = server.log_in(name, PASSWORD).await;
    (text(&body, "access_token"), text(&body, "device_id"))
}

#[tokio::test]
async fn a_device_that_is_logged_in_anew_keeps_its_name_and_says_so_before() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    let (old, old_refresh) = app.log_in("ann", "ONE").await;
    let path = "/_matrix/client/v3/devices/ONE";
    let named = json!({ "display_name": "my <phone>" }).to_string();
    assert_eq!(server.call(Method::PUT, path, Some(&old), named.into()).await.0, 200);
    let mut browser = server.browser();
    let page = app.consent(&mut browser, "ann", &app.url("ONE", &[])).await;
    page.assert_shows(200, "takes the place of the device that you are logged in with as my &lt;phone&gt;");
    let answer = browser.submit(&page, &[("decision", "allow")]).await;
    let (_, tokens) = app.exchange(&parameter(&url::Url::parse(&answer.location()).unwrap(), "code")).await;
    assert!(!server.works(&old).await);
    assert_error(&app.refresh(&old_refresh).await, 400, "invalid_grant");
    let access = text(&tokens, "access_token");
    assert_eq!(server.get(path, Some(&access)).await.1["display_name"], "my <phone>");
    // Logged in by the legacy API it is no app's any more.
    let mut legacy = password_login("ann", PASSWORD);
    legacy["device_id"] = "ONE".into();
    assert_eq!(server.post(LOGIN, None, legacy).await.0, 200);
    assert!(!server.works(&access).await);
    assert_error(&app.refresh(&text(&tokens, "refresh_token")).await, 400, "invalid_grant");
}
