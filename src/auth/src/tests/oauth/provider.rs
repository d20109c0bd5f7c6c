//! People who come from a provider.

use super::*;

const UPLOAD: &str = "/_matrix/client/v3/keys/device_signing/upload";

fn master(key: &str) -> Value {
    let name = format!("ed25519:{key}");
    json!({ "master_key": { "user_id": "@ann:example.org", "usage": ["master"], "keys": { name: key } } })
}

/// The link to the provider on a page.
fn link(page: &Page) -> String {
    let start = format!("href=\"{BASE}/_cliquepay/login/");
    let found = page.body.split(&start).skip(1).find(|rest| rest.starts_with("with/") || rest.starts_with("confirm/"));
    let rest = found.unwrap_or_else(|| panic!("no link in {}", page.body));
    format!("/_cliquepay/login/{}", rest.split('"').next().unwrap().replace("&amp;", "&"))
}

#[tokio::test]
async fn an_app_lets_people_in_through_their_provider() {
    let site = Site::new();
    let app = site.server.app().await;
    for first in [true, false] {
        let mut browser = site.browser();
        let page = browser.get(&app.url("PHONE", &[])).await;
        page.assert_shows(200, "Log in with Our accounts");
        let leave = browser.get(&link(&page)).await;
        let back = browser.get(&site.op.authorize(&leave.location(), "ann")).await;
        let mut page = browser.get(&back.location()).await;
        if first {
            // Somebody new names their account before they are asked.
            page.assert_shows(200, "name=\"localpart\"");
            let made = browser.submit(&page, &[("localpart", "ann")]).await;
            page = browser.get(&made.location()).await;
        }
        page.assert_shows(200, "The &lt;App&gt;");
        page.assert_shows(200, "@ann:example.org");
        let answer = browser.submit(&page, &[("decision", "allow")]).await;
        let code = parameter(&url::Url::parse(&answer.location()).unwrap(), "code");
        let (status, tokens) = app.exchange(&code).await;
        assert_eq!(status, 200, "{tokens}");
        let (_, me) = site.server.get(WHOAMI, Some(&text(&tokens, "access_token"))).await;
        assert_eq!(text(&me, "user_id"), "@ann:example.org");
    }
}

#[tokio::test]
async fn whoever_is_disabled_at_the_provider_is_out_of_apps_and_pages() {
    let site = Site::new();
    site.log_in("ann").await;
    let app = site.server.app().await;
    let mut browser = site.browser();
    let page = browser.get(&app.url("PHONE", &[])).await;
    let leave = browser.get(&link(&page)).await;
    let back = browser.get(&site.op.authorize(&leave.location(), "ann")).await;
    let page = browser.get(&back.location()).await;
    let answer = browser.submit(&page, &[("decision", "allow")]).await;
    let (_, tokens) = app.exchange(&parameter(&url::Url::parse(&answer.location()).unwrap(), "code")).await;
    site.op.disable("ann");
    site.server.clock.advance(900_000);
    // At the last moment they let another app in.
    let page = browser.get(&app.url("OTHER", &[])).await;
    let answer = browser.submit(&page, &[("decision", "allow")]).await;
    let (_, tokens) = app.refresh(&text(&tokens, "refresh_token")).await;
    assert!(site.server.works(&text(&tokens, "access_token")).await);
    site.server.auth.recheck_upstream().await.unwrap();
    assert!(!site.server.works(&text(&tokens, "access_token")).await);
    assert_error(&app.refresh(&text(&tokens, "refresh_token")).await, 400, "invalid_grant");
    let code = parameter(&url::Url::parse(&answer.location()).unwrap(), "code");
    assert_error(&app.exchange(&code).await, 400, "invalid_grant");
    browser.get(&app.url("PHONE", &[])).await.assert_shows(200, "Log in with Our accounts");
}

#[tokio::test]
async fn people_without_a_password_confirm_at_their_provider() {
    let site = Site::new();
    let token = site.log_in("ann").await;
    site.log_in("eve").await;
    site.server.post(UPLOAD, Some(&token), master("AAAA")).await;
    let (status, asked) = site.server.post(UPLOAD, Some(&token), master("BBBB")).await;
    assert_eq!((status, &asked["flows"]), (401, &json!([{ "stages": ["m.login.sso"] }])));
    let session = text(&asked, "session");
    let mut body = master("BBBB");
    body["auth"] = json!({ "session": session });
    let fallback = format!("/_matrix/client/v3/auth/m.login.sso/fallback/web?session={session}");
    let confirm = async |user: &str| {
        let mut browser = site.browser();
        let page = browser.get(&fallback).await;
        page.assert_shows(200, "to replace your encryption identity");
        page.assert_shows(200, "@ann:example.org");
        let leave = browser.get(&link(&page)).await.location();
        // The provider is to ask, also where it knows the browser.
        assert!(leave.contains("&prompt=login&max_age=0"), "{leave}");
        let back = site.op.authorize(&leave, user);
        // In another browser it does not go on.
        site.browser().get(&back).await.assert_shows(403, "in another browser");
        browser.get(&back).await
    };
    for other in ["eve", "somebody-new"] {
        confirm(other).await.assert_shows(403, "another account");
        assert_eq!(site.server.post(UPLOAD, Some(&token), body.clone()).await.0, 401);
    }
    assert_eq!(site.accounts().await, ["@ann:example.org", "@eve:example.org"]);
    // A provider that asked nobody, or an address from which the wish was taken, confirms nothing.
    for since in [json!(0), json!("now"), json!(null)] {
        site.op.tamper(move |draft| draft.claims["auth_time"] = since);
        confirm("ann").await.assert_shows(403, "the provider did not ask you to");
        assert_eq!(site.server.post(UPLOAD, Some(&token), body.clone()).await.0, 401);
    }
    let page = confirm("ann").await;
    page.assert_shows(200, "Confirmed");
    assert!(page.body.contains("onAuthDone"));
    assert_eq!(site.server.post(UPLOAD, Some(&token), body.clone()).await, (200, json!({})));
    site.browser().get(&fallback).await.assert_shows(400, "is over");
    // Whoever has both may choose.
    let num = site.account("ann").await.unwrap().num;
    site.server.auth.users.accounts.set_password_hash(num, Some("x".to_owned())).await.unwrap();
    let (_, asked) = site.server.post(UPLOAD, Some(&token), master("CCCC")).await;
    assert_eq!(asked["flows"], json!([{ "stages": ["m.login.password"] }, { "stages": ["m.login.sso"] }]));
}

#[tokio::test]
async fn clients_of_the_legacy_api_are_offered_the_log_in_page_too() {
    let site = Site::with(sso_config());
    site.server.user("bob").await;
    let url = format!("{REDIRECT}?redirectUrl=https%3A%2F%2Fapp.example%2Fclient%2F&action=login");
    let mut browser = site.browser();
    let page = browser.get(&url).await;
    page.assert_shows(200, "Log in with Our accounts");
    let page = browser.submit(&page, &[("username", "@bob:example.org"), ("password", PASSWORD)]).await;
    let page = browser.get(&page.location()).await;
    let (status, body) =
        site.server.post(LOGIN, None, json!({ "type": "m.login.token", "token": page.login_token() })).await;
    assert_eq!((status, text(&body, "user_id")), (200, "@bob:example.org".to_owned()));
    // A place that the operator did not name is asked about, and a log-in is wanted each time.
    let url = format!("{REDIRECT}?redirectUrl=https%3A%2F%2Fother.example%2F&action=register");
    site.server.clock.advance(1);
    let page = browser.get(&url).await;
    page.assert_shows(200, "Create account");
    let page = browser.submit(&page, &[("localpart", "carol"), ("password", PASSWORD)]).await;
    let page = browser.get(&page.location()).await;
    let question = browser.get(&page.location()).await;
    question.assert_shows(200, "<span class=\"place\">other.example</span>");
    let done = browser.submit(&question, &[]).await;
    let (_, body) =
        site.server.post(LOGIN, None, json!({ "type": "m.login.token", "token": done.login_token() })).await;
    assert_eq!(text(&body, "user_id"), "@carol:example.org");
}
