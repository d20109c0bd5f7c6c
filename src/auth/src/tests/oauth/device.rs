use super::*;

const DEVICE: &str = "/_cliquepay/oauth/device";
const LINK: &str = "/_cliquepay/oauth/link";

impl App<'_> {
    async fn begin_device(&self, device: &str) -> (String, String) {
        let fields = [("client_id", self.client_id.as_str()), ("scope", &scope(device))];
        let (status, body) = self.server.form(DEVICE, &fields).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!((&body["interval"], &body["expires_in"]), (&json!(5), &json!(900)));
        let (code, user_code) = (text(&body, "device_code"), text(&body, "user_code"));
        assert_eq!(text(&body, "verification_uri"), format!("{BASE}{LINK}"));
        assert_eq!(text(&body, "verification_uri_complete"), format!("{BASE}{LINK}?user_code={user_code}"));
        assert_eq!((user_code.len(), user_code.as_bytes()[4]), (9, b'-'));
        (code, user_code)
    }

    async fn poll(&self, code: &str) -> Answer {
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let fields = [("grant_type", grant), ("device_code", code), ("client_id", &self.client_id)];
        self.server.form(TOKEN, &fields).await
    }

    /// The question that somebody who enters a code is asked.
    async fn enter(&self, browser: &mut Browser<'_>, user: &str, code: &str) -> Page {
        let page = browser.post(LINK, &[("user_code", code)]).await;
        page.assert_shows(200, "name=\"password\"");
        let page = browser.submit(&page, &[("username", user), ("password", PASSWORD)]).await;
        browser.get(&page.location()).await
    }
}

#[tokio::test]
async fn a_device_without_a_browser_is_logged_in_by_a_code() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    let (code, user_code) = app.begin_device("TV").await;
    assert_error(&app.poll(&code).await, 400, "authorization_pending");
    // Too early is told, and costs.
    server.clock.advance(4999);
    assert_error(&app.poll(&code).await, 400, "slow_down");
    server.clock.advance(5000);
    assert_error(&app.poll(&code).await, 400, "slow_down");
    server.clock.advance(15_000);
    assert_error(&app.poll(&code).await, 400, "authorization_pending");
    let mut browser = server.browser();
    browser.get(&format!("{LINK}?user_code={user_code}")).await.assert_shows(200, &user_code);
    let typed = user_code.to_lowercase().replace('-', " ");
    let page = app.enter(&mut browser, "ann", &typed).await;
    page.assert_shows(200, "The &lt;App&gt;");
    page.assert_shows(200, &user_code);
    page.assert_shows(200, "on a device of your own at this moment");
    browser.submit(&page, &[("decision", "allow")]).await.assert_shows(200, "The device is logged in");
    let (status, tokens) = app.poll(&code).await;
    assert_eq!(status, 200, "{tokens}");
    let (_, me) = server.get(WHOAMI, Some(&text(&tokens, "access_token"))).await;
    assert_eq!((text(&me, "user_id"), text(&me, "device_id")), ("@ann:example.org".to_owned(), "TV".to_owned()));
    // Codes are good once.
    assert_error(&app.poll(&code).await, 400, "invalid_grant");
    browser.post(LINK, &[("user_code", &user_code)]).await.assert_shows(400, "No device shows this code");
    assert_eq!(app.refresh(&text(&tokens, "refresh_token")).await.0, 200);
}

#[tokio::test]
async fn a_device_that_is_not_let_in_or_takes_too_long_is_told() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    let (code, user_code) = app.begin_device("TV").await;
    let mut browser = server.browser();
    let page = app.enter(&mut browser, "ann", &user_code).await;
    browser.submit(&page, &[("decision", "deny")]).await.assert_shows(200, "was not let in");
    assert_error(&app.poll(&code).await, 400, "access_denied");
    let (code, user_code) = app.begin_device("TV").await;
    let other = server.app_with(json!({ "client_name": "other" })).await;
    assert_error(&other.poll(&code).await, 400, "invalid_grant");
    assert_error(&app.poll("cpd_x").await, 400, "invalid_grant");
    server.clock.advance(900_000);
    assert_error(&app.poll(&code).await, 400, "expired_token");
    browser.post(LINK, &[("user_code", &user_code)]).await.assert_shows(400, "No device shows this code");
    // An app that did not register for it has no such codes.
    let without = server.app_with(json!({ "grant_types": ["authorization_code", "refresh_token"] })).await;
    let fields = [("client_id", without.client_id.as_str()), ("scope", &scope("TV"))];
    assert_error(&server.form(DEVICE, &fields).await, 400, "unauthorized_client");
    assert_error(&server.form(DEVICE, &[("client_id", "nobody")]).await, 401, "invalid_client");
}
