use super::*;

#[tokio::test]
async fn registrations_that_may_not_be_are_refused() {
    let server = Server::with_oauth();
    let refused = async |changes: Value| server.register_client(metadata(changes)).await;
    let uris = |uri: &str| json!({ "redirect_uris": [uri] });
    assert_error(&refused(uris("http://app.example.com/")).await, 400, "invalid_redirect_uri");
    assert_error(&refused(uris("https://evil.example/")).await, 400, "invalid_redirect_uri");
    assert_error(&refused(json!({ "client_uri": null })).await, 400, "invalid_client_metadata");
    for body in ["", "[]", "{", "{\"a\":[[[[[[[[[[]]]]]]]]]]}"] {
        let answer = server.send(REGISTER_CLIENT, "application/json", body.to_owned()).await;
        assert_error(&answer, 400, "invalid_client_metadata");
    }
    assert_error(&server.send(REGISTER_CLIENT, "text/plain", "{}".to_owned()).await, 415, "invalid_request");
    let huge = metadata(json!({ "x": "x".repeat(40 << 10) }));
    assert_error(&server.register_client(huge).await, 413, "invalid_request");
    let (status, body) = refused(json!({ "client_name#de": "Die App", "contacts": ["x"] })).await;
    assert_eq!((status, text(&body, "client_name#de")), (201, "Die App".to_owned()));
    assert_eq!((body.get("contacts"), &body["client_id_issued_at"]), (None, &json!(1_700_000_000)));
}

#[tokio::test]
async fn the_same_app_is_kept_once_and_forgotten_when_nobody_uses_it() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let (one, two) = (server.app().await, server.app().await);
    assert_eq!(one.client_id, two.client_id);
    let used = server.app_with(json!({ "client_name": "Used <App>" })).await;
    let page = server.browser().get(&one.url("PHONE", &[])).await;
    page.assert_shows(200, "name=\"password\"");
    // The name on the page is the app's own.
    let mut browser = server.browser();
    let form = browser.get(&used.url("PHONE", &[])).await;
    let form = browser.submit(&form, &[("username", "ann"), ("password", PASSWORD)]).await;
    let form = browser.get(&form.location()).await;
    form.assert_shows(200, "Used &lt;App&gt;");
    let answer = browser.submit(&form, &[("decision", "allow")]).await;
    let code = parameter(&url::Url::parse(&answer.location()).unwrap(), "code");
    let (_, tokens) = used.exchange(&code).await;
    let known = async |app: &App<'_>| server.browser().get(&app.url("X", &[])).await.status == 200;
    server.clock.advance(23 * 3_600_000);
    server.auth.expire_clients().await.unwrap();
    assert!(known(&one).await && known(&used).await);
    server.clock.advance(3_600_000);
    server.auth.expire_clients().await.unwrap();
    assert!(!known(&one).await && known(&used).await);
    // While somebody is logged in by it a client stays, and then it goes like others.
    for _ in 0..3 {
        server.clock.advance(24 * 3_600_000);
        server.auth.expire_clients().await.unwrap();
    }
    let (_, tokens) = used.refresh(&text(&tokens, "refresh_token")).await;
    assert_eq!(server.post("/_matrix/client/v3/logout", Some(&text(&tokens, "access_token")), json!({})).await.0, 200);
    server.clock.advance(24 * 3_600_000);
    server.auth.expire_clients().await.unwrap();
    assert!(!known(&used).await);
    let (_, oauth) = server.auth.oauth().unwrap();
    assert_eq!(oauth.clients.sessions(&used.client_id).await, 0);
}

#[tokio::test]
async fn the_oldest_client_that_nobody_uses_makes_room() {
    let mut config = oauth_config();
    config.oauth.max_clients = 2;
    let server = Server::with(config);
    server.user("ann").await;
    let named = async |name: &str| server.register_client(metadata(json!({ "client_name": name }))).await;
    let used = server.app().await;
    used.log_in("ann", "PHONE").await;
    server.clock.advance(1000);
    let second = text(&named("second").await.1, "client_id");
    server.clock.advance(1000);
    assert_eq!(named("third").await.0, 201);
    let (_, oauth) = server.auth.oauth().unwrap();
    assert!(oauth.clients.find(&second).await.unwrap().is_none());
    assert!(oauth.clients.find(&used.client_id).await.unwrap().is_some());
    // Where all are used there is none.
    let mut config = oauth_config();
    config.oauth.max_clients = 1;
    let server = Server::with(config);
    server.user("ann").await;
    server.app().await.log_in("ann", "PHONE").await;
    let other = server.register_client(metadata(json!({ "client_name": "other" }))).await;
    assert_error(&other, 503, "temporarily_unavailable");
}

#[tokio::test]
async fn one_address_registers_so_many_apps() {
    let mut config = oauth_config();
    config.limits.enabled = true;
    config.limits.clients_per_ip = http_kit::LimitConfig::new(0.001, 2);
    let server = Server::with(config);
    for _ in 0..2 {
        assert_eq!(server.register_client(metadata(json!({}))).await.0, 201);
    }
    assert_error(&server.register_client(metadata(json!({}))).await, 429, "temporarily_unavailable");
}

#[tokio::test]
async fn requests_that_cannot_be_granted_are_told_to_the_app() {
    let server = Server::with_oauth();
    let app = server.app().await;
    for (changes, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_mode", "form_post"), "invalid_request"),
        (("scope", "openid"), "invalid_scope"),
        (("scope", "urn:matrix:client:api:* urn:matrix:client:device:A urn:matrix:client:device:B"), "invalid_scope"),
        (("prompt", "none"), "interaction_required"),
        (("request", "x"), "request_not_supported"),
    ] {
        let page = server.browser().get(&app.url("PHONE", &[changes])).await;
        let answer = url::Url::parse(&page.location()).unwrap();
        assert_eq!((page.status, parameter(&answer, "error")), (302, error.to_owned()), "{changes:?}");
        assert_eq!(parameter(&answer, "state"), "st4te");
    }
    let unstable = "urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:OLD openid";
    server.user("ann").await;
    let url = app.url("", &[("scope", unstable)]);
    let answer = app.answer(&mut server.browser(), "ann", &url).await;
    let (_, tokens) = app.exchange(&parameter(&answer, "code")).await;
    assert_eq!(text(&tokens, "scope"), unstable.strip_suffix(" openid").unwrap());
}
