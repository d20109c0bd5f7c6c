use super::*;

/// A browser before the form of a first log-in.
async fn form<'a>(site: &'a Site, user: &str) -> (Browser<'a>, Page) {
    let mut browser = site.browser();
    let page = site.return_as(&mut browser, user).await;
    let form = browser.get(&page.location()).await;
    (browser, form)
}

pub(in crate::tests) async fn localparts_are_refused_as_in_a_registration() {
    let site = Site::new();
    site.server.user("taken").await;
    let (mut browser, mut page) = form(&site, "ann").await;
    let long = "x".repeat(250);
    for (localpart, words) in [
        ("", "not possible"),
        ("änn", "not possible"),
        ("аnn", "not possible"),
        ("\u{212a}elvin", "not possible"),
        ("ann\u{200b}", "not possible"),
        ("a nn", "not possible"),
        ("ann:example.org", "not possible"),
        ("@ann", "not possible"),
        ("ann\0", "not possible"),
        (long.as_str(), "not possible"),
        ("taken", "is taken"),
        ("TAKEN", "is taken"),
        ("admin", "is reserved"),
        ("Admin", "is reserved"),
        (" support ", "is reserved"),
    ] {
        page = browser.submit(&page, &[("localpart", localpart)]).await;
        page.assert_shows(400, words);
    }
    assert_eq!(site.accounts().await, ["@taken:example.org"]);
    // The log-in goes on from there.
    let done = browser.submit(&page, &[("localpart", "ANN")]).await;
    let token = site.redeem(&done.login_token()).await;
    assert_eq!(site.server.get(WHOAMI, Some(&token)).await.1["user_id"], "@ann:example.org");
}

pub(in crate::tests) async fn registrations_refuse_reserved_names_too() {
    let site = Site::new();
    let auth = json!({ "type": "m.login.dummy" });
    let answer =
        site.server.post(REGISTER, None, json!({ "username": "Admin", "password": PASSWORD, "auth": auth })).await;
    assert_code(&answer, 400, "M_INVALID_USERNAME");
    assert_code(
        &site.server.get(&format!("{REGISTER}/available?username=admin"), None).await,
        400,
        "M_INVALID_USERNAME",
    );
}

pub(in crate::tests) async fn an_account_of_the_same_name_or_address_is_never_taken_over() {
    let site = Site::new();
    let (password_token, _) = site.server.user("ann").await;
    let (mut browser, page) = form(&site, "ann").await;
    let page = browser.submit(&page, &[("localpart", "ann")]).await;
    page.assert_shows(400, "is taken");
    let done = browser.submit(&page, &[("localpart", "ann2")]).await;
    let token = site.redeem(&done.login_token()).await;
    assert_eq!(site.server.get(WHOAMI, Some(&token)).await.1["user_id"], "@ann2:example.org");
    assert_eq!(site.server.get(WHOAMI, Some(&password_token)).await.1["user_id"], "@ann:example.org");
    // The same name and address, and another subject: somebody else.
    site.op.tamper(|draft| draft.claims["sub"] = "another".into());
    let (_, page) = form(&site, "ann").await;
    assert_eq!(page.field("localpart"), "ann");
    assert_eq!(site.accounts().await, ["@ann:example.org", "@ann2:example.org"]);
}

#[tokio::test]
async fn a_form_without_its_token_or_its_browser_makes_no_account() {
    let site = Site::new();
    let (mut browser, page) = form(&site, "ann").await;
    let (flow, csrf) = (page.field("flow"), page.field("csrf"));
    let path = page.action();
    for fields in [
        vec![("flow", &*flow), ("localpart", "ann")],
        vec![("flow", &*flow), ("localpart", "ann"), ("csrf", "guessed")],
        vec![("csrf", &*csrf), ("localpart", "ann")],
        vec![("flow", &*flow), ("csrf", &*csrf), ("csrf", &*csrf), ("localpart", "ann")],
    ] {
        browser.post(&path, &fields).await.assert_shows(400, "This log-in is over");
    }
    let whole = [("flow", &*flow), ("csrf", &*csrf), ("localpart", "ann")];
    site.browser().post(&path, &whole).await.assert_shows(403, "in another browser");
    // A form of another log-in has another token.
    let (_, other) = form(&site, "bob").await;
    let swapped =
        [("flow", &*flow), ("csrf", &*other.field("csrf")), ("localpart", "ann")].map(|(k, v)| (k, v.to_owned()));
    let swapped: Vec<_> = swapped.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.post(&path, &swapped).await.assert_shows(400, "This log-in is over");
    // Nor does a link do it.
    assert_eq!(browser.get(&format!("{path}?flow={flow}&csrf={csrf}&localpart=ann")).await.status, 405);
    assert!(site.accounts().await.is_empty());
    browser.post(&path, &whole).await.login_token();
}

#[tokio::test]
async fn a_form_that_is_sent_twice_makes_one_account() {
    let site = Site::new();
    let (mut browser, page) = form(&site, "ann").await;
    let cookies = browser.cookies.clone();
    let mut twin = site.browser();
    twin.cookies = cookies.clone();
    let (first, second) =
        futures::join!(browser.submit(&page, &[("localpart", "ann")]), twin.submit(&page, &[("localpart", "anna")]));
    assert_eq!(usize::from(first.status == 200) + usize::from(second.status == 200), 1, "{first:?} {second:?}");
    assert_eq!(site.accounts().await.len(), 1);
    twin.cookies = cookies;
    twin.submit(&page, &[("localpart", "annabel")]).await.assert_shows(400, "This log-in is over");
    assert_eq!(site.accounts().await.len(), 1);
}

#[tokio::test]
async fn what_claims_say_is_shown_as_text() {
    let site = Site::new();
    site.op.tamper(|draft| {
        draft.claims["email"] = "<script>alert('x')</script>\"@example.com".into();
        draft.claims["cognito:username"] = "\"><b>\u{202e}".into();
    });
    let (_, page) = form(&site, "ann").await;
    page.assert_shows(200, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;@example.com");
    assert_eq!(page.field("localpart"), "b");
    assert!(!page.body.contains("<script>") && !page.body.contains('\u{202e}'));
}
