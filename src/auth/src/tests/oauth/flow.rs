use super::*;

#[tokio::test]
async fn the_metadata_say_what_clients_need() {
    let server = Server::with_oauth();
    for path in [
        METADATA,
        "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ] {
        let (status, body) = server.get(path, None).await;
        assert_eq!((status, text(&body, "issuer")), (200, format!("{BASE}/")), "{path}");
        let parsed: ruma::api::client::discovery::get_authorization_server_metadata::v1::AuthorizationServerMetadata =
            serde_json::from_value(body.clone()).unwrap();
        parsed.validate_urls().unwrap();
        assert!(parsed.registration_endpoint.is_some() && parsed.device_authorization_endpoint.is_some());
        assert_eq!(body["prompt_values_supported"], json!(["create"]));
    }
    // Without an address that browsers know there is none.
    let without = Server::new();
    assert_code(&without.get(METADATA, None).await, 404, "M_UNRECOGNIZED");
    let mut off = oauth_config();
    off.oauth.enabled = Some(false);
    assert_code(&Server::with(off).get(METADATA, None).await, 404, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn it_is_there_where_browsers_can_reach_it_safely() {
    let with = |base: Option<&str>, enabled: Option<bool>| {
        let mut config = AuthConfig { public_base_url: base.map(str::to_owned), ..config() };
        config.oauth.enabled = enabled;
        parts(config).map(|(auth, ..)| auth.oauth().is_ok())
    };
    assert!(with(Some(BASE), None).unwrap() && with(Some("http://127.0.0.1:8008"), None).unwrap());
    // An address that worked for everything else goes on to work.
    assert!(!with(Some("http://matrix.example.org"), None).unwrap() && !with(None, None).unwrap());
    assert!(!with(Some(BASE), Some(false)).unwrap());
    for base in [Some("http://matrix.example.org"), None] {
        let refusal = with(base, Some(true)).unwrap_err().to_string();
        assert!(refusal.contains("client_api.public_base_url"), "{refusal}");
    }
    let mut zero = oauth_config();
    zero.oauth.code_seconds = 0;
    assert!(parts(zero).unwrap_err().to_string().contains("auth.oauth.code_seconds"));
}

#[tokio::test]
async fn an_app_logs_a_device_in_and_out() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    let answer = app.answer(&mut server.browser(), "ann", &app.url("PHONE", &[])).await;
    assert!(answer.as_str().starts_with(CALLBACK));
    assert_eq!((parameter(&answer, "state"), parameter(&answer, "iss")), ("st4te".to_owned(), format!("{BASE}/")));
    let (status, tokens) = app.exchange(&parameter(&answer, "code")).await;
    assert_eq!((status, &tokens["token_type"], &tokens["expires_in"]), (200, &json!("Bearer"), &json!(300)));
    assert_eq!(text(&tokens, "scope"), scope("PHONE"));
    let access = text(&tokens, "access_token");
    let (_, me) = server.get(WHOAMI, Some(&access)).await;
    assert_eq!((text(&me, "user_id"), text(&me, "device_id")), ("@ann:example.org".to_owned(), "PHONE".to_owned()));
    let (_, device) = server.get("/_matrix/client/v3/devices/PHONE", Some(&access)).await;
    assert_eq!(text(&device, "display_name"), "The <App>");
    assert_eq!(server.form(REVOKE, &[("token", &access)]).await, (200, json!({})));
    assert!(!server.works(&access).await);
    assert_error(&app.refresh(&text(&tokens, "refresh_token")).await, 400, "invalid_grant");
    assert_eq!(server.form(REVOKE, &[("token", &access)]).await.0, 200);
}

#[tokio::test]
async fn answers_come_in_the_fragment_where_the_app_wants_that() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    let url = app.url("PHONE", &[("response_mode", "fragment")]);
    let answer = app.answer(&mut server.browser(), "ann", &url).await;
    assert_eq!(answer.query(), None);
    let fields: Vec<_> = form_urlencoded::parse(answer.fragment().unwrap().as_bytes()).into_owned().collect();
    let code = fields.iter().find(|(name, _)| name == "code").unwrap();
    assert!(fields.iter().any(|(name, value)| name == "state" && value == "st4te"));
    assert_eq!(app.exchange(&code.1).await.0, 200);
}

#[tokio::test]
async fn a_browser_that_is_logged_in_is_asked_at_once_and_may_be_somebody_else() {
    let server = Server::with_oauth();
    server.user("ann").await;
    server.user("bob").await;
    let app = server.app().await;
    let mut browser = server.browser();
    app.answer(&mut browser, "ann", &app.url("ONE", &[])).await;
    let page = browser.get(&app.url("TWO", &[])).await;
    page.assert_shows(200, "@ann:example.org");
    let page = browser.submit(&page, &[("decision", "other")]).await;
    let page = browser.get(&page.location()).await;
    let page = browser.submit(&page, &[("username", "bob"), ("password", PASSWORD)]).await;
    let page = browser.get(&page.location()).await;
    page.assert_shows(200, "@bob:example.org");
    let denied = browser.submit(&page, &[("decision", "deny")]).await;
    assert_eq!(parameter(&url::Url::parse(&denied.location()).unwrap(), "error"), "access_denied");
    // An app may want to see a log-in in any case.
    server.clock.advance(1);
    browser.get(&app.url("TWO", &[("prompt", "login")])).await.assert_shows(200, "name=\"password\"");
}

#[tokio::test]
async fn somebody_without_an_account_makes_one() {
    let server = Server::with_oauth();
    let app = server.app().await;
    let mut browser = server.browser();
    browser.language = "de";
    let page = browser.get(&app.url("PHONE", &[("prompt", "create")])).await;
    page.assert_shows(200, "Konto anlegen");
    for (name, password, problem) in
        [("ann", "short", "zu kurz"), ("Ä", PASSWORD, "geht nicht"), ("admin", PASSWORD, "reserviert")]
    {
        browser.submit(&page, &[("localpart", name), ("password", password)]).await.assert_shows(400, problem);
    }
    let made = browser.submit(&page, &[("localpart", "Ann"), ("password", PASSWORD)]).await;
    let page = browser.get(&made.location()).await;
    page.assert_shows(200, "@ann:example.org");
    let answer = browser.submit(&page, &[("decision", "allow")]).await;
    let code = parameter(&url::Url::parse(&answer.location()).unwrap(), "code");
    assert_eq!(app.exchange(&code).await.0, 200);
    assert_eq!(server.log_in("ann", PASSWORD).await.0, 200);
}

#[tokio::test]
async fn an_app_on_somebodys_device_is_answered_in_its_own_scheme_or_on_its_own_port() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let uris = json!(["com.example.app:/callback", "com.example:callback?x=y", "http://[::1]/callback"]);
    let app = server.app_with(json!({ "application_type": "native", "redirect_uris": uris })).await;
    for (given, begins, source) in [
        ("com.example.app:/callback", "com.example.app:/callback?code=cpc_", "'self' com.example.app:;"),
        ("com.example:callback?x=y", "com.example:callback?x=y&code=cpc_", "'self' com.example:;"),
        ("http://[::1]:4711/callback", "http://[::1]:4711/callback?code=cpc_", "'self' http:;"),
    ] {
        let mut browser = server.browser();
        let url = app.url("PHONE", &[("redirect_uri", given), ("login_hint", "mxid:@ann:example.org")]);
        browser.get(&url).await.assert_shows(200, "value=\"@ann:example.org\"");
        let page = app.consent(&mut browser, "ann", &url).await;
        // The answer to the form may lead there, and nowhere else.
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains(source), "{policy}");
        let answer = browser.submit(&page, &[("decision", "allow")]).await.location();
        assert!(answer.starts_with(begins), "{answer}");
        let code = parameter(&url::Url::parse(&answer).unwrap(), "code");
        // It is exchanged with the very place that it was sent to.
        assert_error(&app.exchange(&code).await, 400, "invalid_grant");
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", given),
            ("client_id", &app.client_id),
            ("code_verifier", VERIFIER),
        ];
        assert_eq!(server.form(TOKEN, &fields).await.0, 200, "{given}");
    }
}
