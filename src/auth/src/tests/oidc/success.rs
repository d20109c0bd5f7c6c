use super::*;

#[tokio::test]
async fn the_ways_to_log_in_name_the_providers() {
    let mut config = sso_config();
    config.oidc[0].id_token_login = true;
    let site = Site::with(config);
    let (status, body) = site.server.get(LOGIN, None).await;
    let provider = json!({ "id": "cognito", "name": "Our accounts", "icon": null, "brand": "amazon" });
    assert_eq!(status, 200);
    let flows = body["flows"].as_array().unwrap();
    let kinds: Vec<_> = flows.iter().map(|flow| flow["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["m.login.password", "m.login.sso", "m.login.token", "org.matrix.login.jwt"]);
    // Apps that speak OAuth 2.0 do so; others that know of it offer this one way.
    assert_eq!(flows[1]["oauth_aware_preferred"], true);
    assert_eq!(flows[1]["org.matrix.msc3824.delegated_oidc_compatibility"], true);
    let shown = &flows[1]["identity_providers"][0];
    for field in ["id", "name", "brand"] {
        assert_eq!(shown[field], provider[field]);
    }
}

#[tokio::test]
async fn a_first_log_in_makes_an_account_and_the_next_opens_it() {
    let site = Site::new();
    let mut browser = site.browser();
    let page = site.return_as(&mut browser, "ann").await;
    assert_eq!(page.status, 302);
    let form = browser.get(&page.location()).await;
    form.assert_shows(200, "Our accounts");
    form.assert_shows(200, "ann@example.com");
    assert_eq!(form.field("localpart"), "ann");
    assert!(site.accounts().await.is_empty(), "an account was made before its owner agreed");
    let done = browser.submit(&form, &[("localpart", "anna")]).await;
    done.assert_shows(200, "@anna:example.org");
    assert!(done.client_url().starts_with("https://app.example/client/?a=b&loginToken="));
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    let first = site.redeem(&done.login_token()).await;
    let (_, who) = site.server.get(WHOAMI, Some(&first)).await;
    assert_eq!(who["user_id"], "@anna:example.org");
    let user = site.account("anna").await.unwrap();
    let name = site.server.auth.users.profiles.get(user.num, "displayname").await.unwrap().unwrap();
    assert_eq!(name.get(), "\"ann Müller\"");

    // From now on straight through, in another browser, too.
    let mut other = site.browser();
    let page = site.return_as(&mut other, "ann").await;
    assert_eq!(page.status, 302);
    assert!(page.location().starts_with("https://app.example/client/?a=b&loginToken="));
    assert!(other.cookies.is_empty());
    let second = site.redeem(&page.login_token()).await;
    assert_eq!(site.server.get(WHOAMI, Some(&second)).await.1["user_id"], "@anna:example.org");
    assert!(site.server.works(&first).await);
    assert_eq!(site.accounts().await, ["@anna:example.org"]);
    // What the provider announces, and its keys, were asked for once.
    assert_eq!((site.op.calls("openid-configuration"), site.op.calls("jwks.json")), (1, 1));
}

#[tokio::test]
async fn a_client_that_can_refresh_gets_a_refresh_token_by_a_login_token_too() {
    let site = Site::new();
    site.log_in("ann").await;
    let page = site.return_as(&mut site.browser(), "ann").await;
    let request =
        json!({ "type": "m.login.token", "token": page.login_token(), "refresh_token": true, "device_id": "PHONE" });
    let (status, body) = site.server.post(LOGIN, None, request).await;
    assert_eq!((status, &body["device_id"], &body["expires_in_ms"]), (200, &json!("PHONE"), &json!(3_600_000)));
    text(&body, "refresh_token");
}

#[tokio::test]
async fn a_login_token_is_good_once() {
    let site = Site::new();
    site.log_in("ann").await;
    let token = site.return_as(&mut site.browser(), "ann").await.login_token();
    let (first, second) = futures::join!(site.exchange(&token), site.exchange(&token));
    let mut statuses = [first.0, second.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403]);
    assert_code(&site.exchange(&token).await, 403, "M_FORBIDDEN");
    assert_code(&site.exchange("cpl_never").await, 403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_login_token_ends_after_two_minutes() {
    let site = Site::new();
    site.log_in("ann").await;
    let first = site.return_as(&mut site.browser(), "ann").await.login_token();
    site.server.clock.advance(119_999);
    site.redeem(&first).await;
    let second = site.return_as(&mut site.browser(), "ann").await.login_token();
    site.server.clock.advance(120_000);
    assert_code(&site.exchange(&second).await, 403, "M_FORBIDDEN");
}

#[tokio::test]
async fn groups_decide_who_is_an_administrator_at_each_log_in() {
    let site = Site::new();
    site.op.set_groups("ann", &["others", "cliquepay-admin"]);
    site.log_in("ann").await;
    assert!(site.account("ann").await.unwrap().admin);
    site.op.set_groups("ann", &["cliquepay-admins"]);
    let token = site.log_in("ann").await;
    assert!(!site.account("ann").await.unwrap().admin);
    assert!(site.server.works(&token).await);
    // Without a group for it roles are left alone.
    let mut config = sso_config();
    config.oidc[0].admin_group = None;
    let site = Site::with(config);
    site.log_in("bob").await;
    let bob = site.account("bob").await.unwrap();
    site.server.auth.set_admin(bob.num, true).await.unwrap();
    site.log_in("bob").await;
    assert!(site.account("bob").await.unwrap().admin);
}

#[tokio::test]
async fn two_tabs_log_in_side_by_side() {
    let site = Site::new();
    site.log_in("ann").await;
    let mut browser = site.browser();
    let (first, second) = (site.leave(&mut browser).await, site.leave(&mut browser).await);
    assert_ne!(first, second);
    for url in [first, second] {
        let back = site.op.authorize(&url, "ann");
        assert_eq!(browser.get(&back).await.status, 302);
    }
}

#[tokio::test]
async fn pages_are_german_for_those_who_prefer_it() {
    let site = Site::new();
    let mut browser = site.browser();
    browser.language = "de-AT, en;q=0.5";
    let page = site.return_as(&mut browser, "ann").await;
    let form = browser.get(&page.location()).await;
    form.assert_shows(200, "Konto anlegen");
    form.assert_shows(200, "<html lang=\"de\">");
    browser.get(&format!("{REDIRECT}/cognito")).await.assert_shows(400, "Du bist nicht angemeldet");
}

#[tokio::test]
async fn pages_run_nothing_are_kept_nowhere_and_stand_in_no_frame() {
    let site = Site::new();
    let mut browser = site.browser();
    let page = site.return_as(&mut browser, "ann").await;
    let form = browser.get(&page.location()).await;
    let taken = browser.submit(&form, &[("localpart", "Ü")]).await;
    let done = browser.submit(&taken, &[("localpart", "ann")]).await;
    for page in [form, taken, done] {
        let header = |name: &str| page.headers.get(name).unwrap().to_str().unwrap();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("form-action 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!page.body.contains("<script") && !page.body.contains(" style="));
        assert_eq!((header("cache-control"), header("referrer-policy")), ("no-store", "no-referrer"));
        assert_eq!((header("x-content-type-options"), header("x-frame-options")), ("nosniff", "DENY"));
        assert!(page.headers.get("access-control-allow-origin").is_none());
    }
}
