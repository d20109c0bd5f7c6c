//! What must never work, each line by its name: for apps that are let in here, and for people who come from a provider.

use super::{
    oauth::*,
    oidc::{BASE, faults, first_login, redirects},
    *,
};

#[tokio::test]
async fn open_redirect() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    for place in [
        "https://evil.example/callback",
        "https://app.example.com.evil.example/callback",
        "https://app.example.com/callback/",
        "https://app.example.com/callback?x",
        "https://app.example.com:8443/callback",
        "https://app.example.com@evil.example/callback",
        "http://app.example.com/callback",
        "//app.example.com/callback",
        "javascript:alert(1)",
        "",
    ] {
        let page = server.browser().get(&app.url("PHONE", &[("redirect_uri", place)])).await;
        page.assert_shows(400, "not its own");
        assert!(page.headers.get(header::LOCATION).is_none() && page.headers.get(header::SET_COOKIE).is_none());
    }
    // Not even an error is told to a place that nobody registered, nor for a client that nobody knows.
    let twice = format!("{}&redirect_uri=https%3A%2F%2Fevil.example", app.url("PHONE", &[]));
    server.browser().get(&twice).await.assert_shows(400, "not its own");
    let page = server.browser().get(&app.url("PHONE", &[("client_id", "nobody")])).await;
    page.assert_shows(400, "not known here");
    assert!(page.headers.get(header::LOCATION).is_none());
    // On this machine any port will do, and nothing else.
    let native = json!({ "application_type": "native", "redirect_uris": ["http://127.0.0.1/callback"] });
    let native = server.app_with(native).await;
    let open = async |place: &str| server.browser().get(&native.url("PHONE", &[("redirect_uri", place)])).await.status;
    assert_eq!(open("http://127.0.0.1:4711/callback").await, 200);
    assert_eq!(open("http://127.0.0.1:4711/other").await, 400);
    assert_eq!(open("http://127.0.0.1:4711@evil.example/callback").await, 400);
    assert_eq!(open("http://localhost:4711/callback").await, 400);
    redirects::addresses_that_are_none_are_refused().await;
}

#[tokio::test]
async fn code_reuse() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    let code = app.code("ann", "PHONE").await;
    let (_, tokens) = app.exchange(&code).await;
    let access = text(&tokens, "access_token");
    assert!(server.works(&access).await);
    assert_error(&app.exchange(&code).await, 400, "invalid_grant");
    // Nobody knows which of the two was the app: what the first got is worth nothing any more.
    assert!(!server.works(&access).await);
    assert_error(&app.refresh(&text(&tokens, "refresh_token")).await, 400, "invalid_grant");
    assert_error(&app.exchange(&code).await, 400, "invalid_grant");
    // Of two at once at most one gets tokens, and they do not last.
    let code = app.code("ann", "TABLET").await;
    let (first, second) = futures::join!(app.exchange(&code), app.exchange(&code));
    for (status, body) in [first, second] {
        assert!(status == 400 || !server.works(&text(&body, "access_token")).await);
    }
    // It does not last itself.
    let code = app.code("ann", "PHONE").await;
    server.clock.advance(60_000);
    assert_error(&app.exchange(&code).await, 400, "invalid_grant");
    faults::a_code_is_good_once().await;
}

#[tokio::test]
async fn code_interception_without_pkce() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    // No code is given out that could be exchanged without a secret of the app.
    for (changes, code) in [
        ([("code_challenge", ""), ("code_challenge_method", "")], "invalid_request"),
        ([("code_challenge", ""), ("code_challenge_method", "S256")], "invalid_request"),
        ([("code_challenge", VERIFIER), ("code_challenge_method", "plain")], "invalid_request"),
        ([("code_challenge", VERIFIER), ("code_challenge_method", "")], "invalid_request"),
        ([("code_challenge", "c2hvcnQ"), ("code_challenge_method", "S256")], "invalid_request"),
    ] {
        let page = server.browser().get(&app.url("PHONE", &changes)).await;
        let answer = url::Url::parse(&page.location()).unwrap();
        assert_eq!(parameter(&answer, "error"), code);
        assert_eq!(parameter(&answer, "state"), "st4te");
    }
    let code = app.code("ann", "PHONE").await;
    let without = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", CALLBACK),
        ("client_id", &app.client_id),
    ];
    assert_error(&server.form(TOKEN, &without).await, 400, "invalid_request");
    let challenge = challenge(VERIFIER);
    for wrong in ["a-verifier-of-somebody-else-0123456789-012345", &challenge, "short", ""] {
        assert_eq!(app.exchange_with(&code, wrong).await.0, 400, "{wrong}");
    }
    // Whoever saw the code on its way took nothing from the app.
    assert_eq!(app.exchange(&code).await.0, 200);
}

#[tokio::test]
async fn mixed_up_state() {
    let server = Server::with_oauth();
    server.user("ann").await;
    server.user("eve").await;
    let app = server.app().await;
    // Eve's step in Ann's browser: its cookie is missing there.
    let (mut anns, mut eves) = (server.browser(), server.browser());
    let page = app.consent(&mut eves, "eve", &app.url("EVIL", &[])).await;
    anns.submit(&page, &[("decision", "allow")]).await.assert_shows(403, "in another browser");
    let own = app.consent(&mut anns, "ann", &app.url("PHONE", &[("state", "a b&c=d#e")])).await;
    anns.get(&format!("/_cliquepay/login/next?flow={}", page.field("flow"))).await.assert_shows(403, "another browser");
    // The app gets the very state that it sent, and is told whose answer it is.
    let answer = anns.submit(&own, &[("decision", "allow")]).await;
    let answer = url::Url::parse(&answer.location()).unwrap();
    assert_eq!((parameter(&answer, "state"), parameter(&answer, "iss")), ("a b&c=d#e".to_owned(), format!("{BASE}/")));
    anns.submit(&own, &[("decision", "allow")]).await.assert_shows(400, "is over");
    faults::a_mixed_up_state_is_refused().await;
    faults::an_answer_of_another_provider_is_refused().await;
}

#[tokio::test]
async fn token_substitution() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let (app, other) = (server.app().await, server.app_with(json!({ "client_name": "Other <App>" })).await);
    let (access, refresh) = app.log_in("ann", "PHONE").await;
    // One client's code and tokens are no other's, and what is one kind of token is no other.
    let code = app.code("ann", "TABLET").await;
    assert_error(&other.exchange(&code).await, 400, "invalid_grant");
    assert_eq!(app.exchange(&code).await.0, 200);
    assert_error(&other.refresh(&refresh).await, 400, "invalid_grant");
    for wrong in [&access, &code, &refresh.replace("cpo_", "cpr_"), "cpo_x.y", "cpo_", ""] {
        assert_eq!(app.refresh(wrong).await.0, 400, "{wrong}");
    }
    for wrong in [&refresh, &code, refresh.strip_prefix("cpo_").unwrap().split('.').next().unwrap()] {
        assert!(!server.works(wrong).await, "{wrong}");
    }
    // The two APIs do not refresh each other's tokens.
    const REFRESH: &str = "/_matrix/client/v3/refresh";
    let answer = server.post(REFRESH, None, json!({ "refresh_token": refresh })).await;
    assert_code(&answer, 401, "M_UNKNOWN_TOKEN");
    let mut legacy = password_login("ann", PASSWORD);
    legacy["refresh_token"] = true.into();
    let (_, legacy) = server.post(LOGIN, None, legacy).await;
    assert_error(&app.refresh(&text(&legacy, "refresh_token")).await, 400, "invalid_grant");
    assert!(server.works(&access).await);
    assert_eq!(app.refresh(&refresh).await.0, 200);
    faults::an_access_token_is_no_id_token().await;
    faults::a_code_of_another_log_in_is_refused().await;
}

#[tokio::test]
async fn expired_and_not_yet_valid_tokens() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    let (access, refresh) = app.log_in("ann", "PHONE").await;
    server.clock.advance(299_999);
    assert!(server.works(&access).await);
    server.clock.advance(1);
    let answer = server.get(WHOAMI, Some(&access)).await;
    assert_code(&answer, 401, "M_UNKNOWN_TOKEN");
    assert_eq!(answer.1["soft_logout"], true);
    let (_, fresh) = app.refresh(&refresh).await;
    assert!(server.works(&text(&fresh, "access_token")).await);
    faults::an_expired_token_is_refused().await;
    faults::a_token_that_is_not_valid_yet_is_refused().await;
}

#[tokio::test]
async fn alg_none() {
    faults::alg_none_is_refused().await;
}

#[tokio::test]
async fn hs256_with_the_public_key() {
    faults::hs256_with_the_public_key_is_refused().await;
}

#[tokio::test]
async fn key_confusion() {
    faults::a_key_of_somebody_else_is_refused().await;
    faults::keys_of_other_kinds_are_used_where_their_algorithm_is_configured_and_never_confused().await;
}

#[tokio::test]
async fn csrf_on_consent() {
    let server = Server::with_oauth();
    server.user("ann").await;
    server.user("eve").await;
    let app = server.app().await;
    let mut browser = server.browser();
    let page = app.consent(&mut browser, "ann", &app.url("PHONE", &[])).await;
    let (flow, csrf) = (page.field("flow"), page.field("csrf"));
    // What a hostile page can send: the form without what it cannot know. The question is put again, nothing is allowed.
    for guess in ["", "guessed", flow.as_str()] {
        let sent = browser.post(&page.action(), &[("flow", &flow), ("csrf", guess), ("decision", "allow")]).await;
        assert!(sent.location().starts_with(BASE), "{}", sent.location());
    }
    // A browser without its cookies is another one.
    let fields = [("flow", flow.as_str()), ("csrf", csrf.as_str()), ("decision", "allow")];
    server.browser().post(&page.action(), &fields).await.assert_shows(403, "in another browser");
    // The page was shown to Ann: what Eve sends after her is not Ann's word, nor Eve's.
    server.clock.advance(1);
    let again = browser.get(&app.url("PHONE", &[("prompt", "login")])).await;
    let logged_in = browser.submit(&again, &[("username", "eve"), ("password", PASSWORD)]).await;
    assert_eq!(logged_in.status, 302);
    let sent = browser.post(&page.action(), &fields).await;
    assert!(sent.location().starts_with(BASE), "{}", sent.location());
    // Nor can anybody be logged in as somebody else by a form from elsewhere.
    server.clock.advance(1);
    let form = browser.get(&app.url("PHONE", &[("prompt", "login")])).await;
    let flow = form.field("flow");
    let forged = [("flow", flow.as_str()), ("csrf", "guessed"), ("username", "eve"), ("password", PASSWORD)];
    browser.post(&form.action(), &forged).await.assert_shows(400, "is over");
}

#[tokio::test]
async fn session_fixation() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    const NAME: &str = "__Host-cliquepay-account";
    // Eve plants a cookie, of her own making or of a session of hers; Ann logs in and gets another.
    server.user("eve").await;
    let mut eves = server.browser();
    app.consent(&mut eves, "eve", &app.url("EVIL", &[])).await;
    for planted in ["planted".to_owned(), eves.cookies[NAME].clone()] {
        let mut browser = server.browser();
        browser.cookies.insert(NAME.to_owned(), planted.clone());
        server.clock.advance(1);
        let page = browser.get(&app.url("PHONE", &[("prompt", "login")])).await;
        browser.submit(&page, &[("username", "ann"), ("password", PASSWORD)]).await;
        assert_ne!(browser.cookies[NAME], planted);
        let mut other = server.browser();
        other.cookies.insert(NAME.to_owned(), planted);
        let page = other.get(&app.url("PHONE", &[])).await;
        assert!(!page.body.contains("@ann:example.org"), "{}", page.body);
    }
    // A step has a name and a cookie of its own, made by this server.
    faults::a_log_in_goes_on_in_the_browser_that_began_it_only().await;
}

#[tokio::test]
async fn clickjacking_frame_ancestors() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    let mut browser = server.browser();
    let mut pages = vec![browser.get(&app.url("PHONE", &[])).await];
    pages.push(app.consent(&mut browser, "ann", &app.url("PHONE", &[])).await);
    pages.push(browser.get("/_cliquepay/account?action=org.matrix.account_deactivate").await);
    pages.push(browser.get("/_cliquepay/oauth/link?user_code=X").await);
    pages.push(browser.get(&app.url("PHONE", &[("client_id", "x")])).await);
    for page in pages {
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
        assert!(policy.contains("base-uri 'none'") && !policy.contains("script-src"), "{policy}");
        assert_eq!(page.headers[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(page.headers[header::REFERRER_POLICY], "no-referrer");
        assert!(!page.body.contains("<script"), "{}", page.body);
    }
}

#[tokio::test]
async fn timing_of_unknown_users() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let (token, _) = server.user("gone").await;
    let close = json!({ "auth": password_login("gone", PASSWORD) });
    assert_eq!(server.post("/_matrix/client/v3/account/deactivate", Some(&token), close).await.0, 200);
    server.auth.users.register(users::accounts::NewAccount::user("nopassword"), None).await.unwrap();
    let app = server.app().await;
    let hashed = || server.auth.passwords.hashed.load(Ordering::Relaxed);
    let mut shown = Vec::new();
    for name in ["ann", "nobody", "gone", "nopassword", "@ann:elsewhere.org", "@ann:example.org", "Ä"] {
        // The same work whoever it is, and on the page the same words.
        let before = hashed();
        let mut browser = server.browser();
        let page = browser.get(&app.url("PHONE", &[])).await;
        let page = browser.submit(&page, &[("username", name), ("password", "wrong password")]).await;
        assert_eq!(hashed() - before, 1, "{name}");
        page.assert_shows(403, "name or the password is wrong");
        let bare = page.body.replace(&page.field("flow"), "").replace(&page.field("csrf"), "");
        shown.push(bare.replace(&format!("value=\"{name}\""), ""));
        let before = hashed();
        assert_eq!(server.log_in(name, "wrong password").await.0, 403, "{name}");
        assert_eq!(hashed() - before, 1, "{name}");
    }
    assert!(shown.windows(2).all(|pair| pair[0] == pair[1]), "{shown:?}");
}

#[tokio::test]
async fn reuse_of_a_rotated_refresh_token() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    let (_, first) = app.log_in("ann", "PHONE").await;
    let (_, tokens) = app.refresh(&first).await;
    // The answer is lost: the same token may be used again, until what it gave was used.
    let (status, tokens_again) = app.refresh(&first).await;
    assert_eq!(status, 200, "{tokens_again}");
    assert_ne!(text(&tokens, "refresh_token"), text(&tokens_again, "refresh_token"));
    let access = text(&tokens_again, "access_token");
    assert!(server.works(&access).await);
    // Now it is an old one: whoever has it should not. Nothing of this log-in is good any more.
    assert_error(&app.refresh(&first).await, 400, "invalid_grant");
    assert!(!server.works(&access).await);
    assert_error(&app.refresh(&text(&tokens_again, "refresh_token")).await, 400, "invalid_grant");
    // Others are not touched.
    let (_, mine) = app.log_in("ann", "TABLET").await;
    assert_eq!(app.refresh(&mine).await.0, 200);
}

#[tokio::test]
async fn localpart_tricks_case_unicode_reserved() {
    let server = Server::with_oauth();
    server.user("taken").await;
    let app = server.app().await;
    let mut browser = server.browser();
    let page = browser.get(&app.url("PHONE", &[("prompt", "create")])).await;
    let long = "x".repeat(250);
    for (localpart, words) in [
        ("", "not possible"),
        ("аnn", "not possible"),
        ("\u{212a}elvin", "not possible"),
        ("ann\u{200b}", "not possible"),
        ("a nn", "not possible"),
        ("ann:example.org", "not possible"),
        ("@ann", "not possible"),
        ("ann\0", "not possible"),
        (long.as_str(), "not possible"),
        ("TAKEN", "is taken"),
        ("Admin", "is reserved"),
        (" support ", "is reserved"),
    ] {
        browser.submit(&page, &[("localpart", localpart), ("password", PASSWORD)]).await.assert_shows(400, words);
    }
    first_login::localparts_are_refused_as_in_a_registration().await;
    first_login::registrations_refuse_reserved_names_too().await;
    first_login::an_account_of_the_same_name_or_address_is_never_taken_over().await;
}
