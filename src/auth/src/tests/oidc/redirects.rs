use super::*;

#[tokio::test]
async fn a_place_that_nobody_named_gets_no_token_before_its_host_was_shown_and_agreed_to() {
    let site = Site::new();
    site.log_in("ann").await;
    for (url, place) in [
        ("https://evil.example/?x=https://app.example/client/", "evil.example"),
        ("https://app.example.evil.example/client/", "app.example.evil.example"),
        ("https://app.example:8443/client/", "app.example:8443"),
        ("http://app.example/client/", "app.example"),
        ("http://localhost:4321/", "localhost:4321"),
        ("io.element.app:/callback", "io.element.app:"),
    ] {
        let mut browser = site.browser();
        let page = browser.get(&redirect_to(url)).await;
        let back = site.op.authorize(&page.location(), "ann");
        let page = browser.get(&back).await;
        assert!(page.location().starts_with(BASE), "{}", page.location());
        let question = browser.get(&page.location()).await;
        question.assert_shows(200, &format!("<span class=\"place\">{place}</span>"));
        question.assert_shows(200, "@ann:example.org");
        assert!(!question.body.contains("loginToken") && !question.body.contains("http-equiv"));
        // Nothing but the form goes on, and only from this browser.
        let (flow, csrf) = (question.field("flow"), question.field("csrf"));
        let path = question.action();
        browser.post(&path, &[("flow", &flow), ("csrf", "guessed")]).await.assert_shows(400, "This log-in is over");
        let fields = [("flow", &*flow), ("csrf", &*csrf)];
        site.browser().post(&path, &fields).await.assert_shows(403, "in another browser");
        let done = browser.submit(&question, &[]).await;
        done.assert_shows(200, "You are logged in");
        assert!(done.client_url().starts_with(url.split('?').next().unwrap()), "{}", done.client_url());
        site.redeem(&done.login_token()).await;
        browser.post(&path, &fields).await.assert_shows(400, "This log-in is over");
    }
}

#[tokio::test]
async fn a_newcomer_is_asked_too() {
    let site = Site::new();
    let mut browser = site.browser();
    let page = browser.get(&redirect_to("https://other.example/")).await;
    let page = browser.get(&site.op.authorize(&page.location(), "ann")).await;
    let form = browser.get(&page.location()).await;
    let question = browser.submit(&form, &[("localpart", "ann")]).await;
    question.assert_shows(200, "<span class=\"place\">other.example</span>");
    let done = browser.submit(&question, &[]).await;
    site.redeem(&done.login_token()).await;
    assert!(browser.cookies.is_empty());
}

pub(in crate::tests) async fn addresses_that_are_none_are_refused() {
    let site = Site::new();
    for url in
        ["javascript:alert(1)", "data:text/html,x", "//evil.example", "/", "", "https://app.example@evil.example/"]
    {
        let page = site.browser().get(&redirect_to(url)).await;
        page.assert_shows(400, "did not say properly where to go");
        assert!(page.headers.get(header::SET_COOKIE).is_none());
    }
    site.browser().get(REDIRECT).await.assert_shows(400, "did not say properly where to go");
    site.browser()
        .get("/_matrix/client/v3/login/sso/redirect/nobody?redirectUrl=https%3A%2F%2Fx.org")
        .await
        .assert_shows(404, "no such way");
    assert_eq!(site.op.calls(""), 0);
}

#[tokio::test]
async fn with_several_providers_a_page_asks_which() {
    let mut config = sso_config();
    config.oidc.push(provider(json!({ "id": "other", "name": "<Other>", "issuer": "https://other.example" })));
    let site = Site::with(config);
    let mut browser = site.browser();
    let page = browser.get(&format!("{REDIRECT}?redirectUrl=https%3A%2F%2Fapp.example%2Fclient%2F%3Fa%3D%22%3E")).await;
    page.assert_shows(200, "Log in with Our accounts");
    page.assert_shows(200, "Log in with &lt;Other&gt;");
    let gone = browser.get(&page.client_url()).await;
    assert_eq!(gone.status, 302);
    // With one there is nothing to ask; the old version of the path is the same.
    let one = Site::new();
    for path in [REDIRECT, "/_matrix/client/r0/login/sso/redirect"] {
        let page = one.browser().get(&format!("{path}?redirectUrl=https%3A%2F%2Fapp.example%2Fclient%2F")).await;
        assert_eq!(page.status, 302);
    }
}

#[tokio::test]
async fn without_providers_there_are_no_such_endpoints() {
    let server = Server::new();
    for path in [REDIRECT, "/_cliquepay/login/next", "/_cliquepay/login/callback/x"] {
        assert_code(&server.get(path, None).await, 404, "M_UNRECOGNIZED");
    }
}
