use super::*;

const ACCOUNT: &str = "/_cliquepay/account";

/// A browser that is logged in on a page of the account, and the page.
async fn open<'a>(server: &'a Server, user: &str, query: &str) -> (Browser<'a>, Page) {
    let mut browser = server.browser();
    let page = browser.get(&format!("{ACCOUNT}{query}")).await;
    page.assert_shows(200, "name=\"password\"");
    let page = browser.submit(&page, &[("username", user), ("password", PASSWORD)]).await;
    let page = browser.get(&page.location()).await;
    let page = browser.get(&page.location()).await;
    assert_eq!(page.status, 200, "{}", page.body);
    (browser, page)
}

/// Sends the last form of a page, with all of its hidden fields.
async fn send(browser: &mut Browser<'_>, page: &Page, more: &[(&str, &str)]) -> Page {
    let names = ["action", "device_id", "session", "csrf"];
    let form = page.body.split("<form").nth(1).unwrap();
    let inputs: Vec<(&str, String)> = names
        .into_iter()
        .filter(|name| form.contains(&format!("name=\"{name}\" value")))
        .map(|name| (name, page.field(name)))
        .collect();
    let fields: Vec<_> =
        inputs.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied()).collect();
    browser.post(ACCOUNT, &fields).await
}

#[tokio::test]
async fn the_metadata_name_the_actions_in_both_spellings() {
    let server = Server::with_oauth();
    let (_, body) = server.get(METADATA, None).await;
    assert_eq!(text(&body, "account_management_uri"), format!("{BASE}{ACCOUNT}"));
    assert_eq!(
        body["account_management_actions_supported"],
        json!([
            "org.matrix.profile",
            "org.matrix.devices_list",
            "org.matrix.device_view",
            "org.matrix.device_delete",
            "org.matrix.account_deactivate",
            "org.matrix.cross_signing_reset",
            "org.matrix.sessions_list",
            "org.matrix.session_view",
            "org.matrix.session_end",
        ])
    );
}

#[tokio::test]
async fn a_display_name_is_changed_on_the_first_page() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let (mut browser, page) = open(&server, "ann", "?action=org.matrix.profile").await;
    page.assert_shows(200, "@ann:example.org");
    let changed = send(&mut browser, &page, &[("display_name", " Ann <3 ")]).await;
    assert_eq!(changed.location(), format!("{BASE}{ACCOUNT}?action=org.matrix.profile"));
    assert_eq!(*server.hook.names.lock(), [("@ann:example.org".to_owned(), "Ann <3".to_owned())]);
    send(&mut browser, &page, &[("display_name", &"x".repeat(1025))]).await.assert_shows(400, "too long");
    // Nothing changes without the page's own token.
    let forged = [("action", "org.matrix.profile"), ("csrf", "guessed"), ("display_name", "Eve")];
    browser.post(ACCOUNT, &forged).await.assert_shows(403, "another browser");
    server.browser().post(ACCOUNT, &forged).await.assert_shows(200, "name=\"password\"");
    assert_eq!(server.hook.names.lock().len(), 1);
}

#[tokio::test]
async fn devices_are_listed_shown_renamed_and_logged_out() {
    let server = Server::with_oauth();
    let (token, device) = server.user("ann").await;
    let (other, others) = server.user("bob").await;
    server.get(WHOAMI, Some(&token)).await;
    for list in ["org.matrix.devices_list", "org.matrix.sessions_list"] {
        let (_, page) = open(&server, "ann", &format!("?action={list}")).await;
        page.assert_shows(200, &device);
        page.assert_shows(200, "within the last hour");
        assert!(!page.body.contains(&others));
    }
    let view = format!("?action=org.matrix.device_view&device_id={device}");
    let (mut browser, page) = open(&server, "ann", &view).await;
    page.assert_shows(200, "127.0.0.1");
    send(&mut browser, &page, &[("device_name", "my <phone>")]).await.location();
    let page = browser.get(&format!("{ACCOUNT}?action=org.matrix.session_view&device_id={device}")).await;
    page.assert_shows(200, "my &lt;phone&gt;");
    // Somebody else's device is no device of theirs.
    let page = browser.get(&format!("{ACCOUNT}?action=org.matrix.device_delete&device_id={others}")).await;
    page.assert_shows(404, "not logged in with this device");
    let page = browser.get(&format!("{ACCOUNT}?action=org.matrix.session_end&device_id={device}")).await;
    page.assert_shows(200, "Log this device out");
    let done = send(&mut browser, &page, &[]).await;
    assert!(done.location().ends_with("org.matrix.devices_list"));
    assert!(!server.works(&token).await && server.works(&other).await);
}

#[tokio::test]
async fn what_is_delicate_wants_a_log_in_that_is_not_old() {
    let server = Server::with_oauth();
    let (token, _) = server.user("ann").await;
    let (mut browser, _) = open(&server, "ann", "").await;
    server.clock.advance(600_001);
    browser.get(ACCOUNT).await.assert_shows(200, "Your account");
    let path = format!("{ACCOUNT}?action=org.matrix.account_deactivate");
    let page = browser.get(&path).await;
    page.assert_shows(200, "name=\"password\"");
    let page = browser.submit(&page, &[("username", "ann"), ("password", PASSWORD)]).await;
    let page = browser.get(&page.location()).await;
    let page = browser.get(&page.location()).await;
    page.assert_shows(200, "Close your account");
    send(&mut browser, &page, &[]).await.assert_shows(400, "Tick the box");
    assert!(server.works(&token).await);
    let closed = send(&mut browser, &page, &[("agreed", "yes"), ("erase", "yes")]).await;
    closed.assert_shows(200, "Your account is closed");
    assert!(!server.works(&token).await);
    assert_eq!(*server.hook.called.lock(), [("@ann:example.org".to_owned(), true)]);
    browser.get(ACCOUNT).await.assert_shows(200, "name=\"password\"");
    // A browser does not stay logged in for long.
    server.user("bob").await;
    let (mut browser, _) = open(&server, "bob", "").await;
    server.clock.advance(1_800_000);
    browser.get(ACCOUNT).await.assert_shows(200, "name=\"password\"");
}

#[tokio::test]
async fn a_password_is_changed_with_the_old_one() {
    let server = Server::with_oauth();
    let (token, _) = server.user("ann").await;
    let (mut browser, page) = open(&server, "ann", "?action=com.cliquepay.password").await;
    let new = "another long password";
    let change = [("password", "wrong password"), ("new_password", new)];
    send(&mut browser, &page, &change).await.assert_shows(403, "password is wrong");
    let short = [("password", PASSWORD), ("new_password", "short")];
    send(&mut browser, &page, &short).await.assert_shows(400, "too short");
    let change = [("password", PASSWORD), ("new_password", new)];
    send(&mut browser, &page, &change).await.assert_shows(200, "The password is changed");
    assert!(server.works(&token).await);
    assert_eq!((server.log_in("ann", PASSWORD).await.0, server.log_in("ann", new).await.0), (403, 200));
    browser.get(ACCOUNT).await.assert_shows(200, "Your account");
    let page = browser.get(&format!("{ACCOUNT}?action=com.cliquepay.password")).await;
    let back = [("password", new), ("new_password", PASSWORD), ("log_out", "yes")];
    send(&mut browser, &page, &back).await.assert_shows(200, "The password is changed");
    assert!(!server.works(&token).await);
}

#[tokio::test]
async fn the_pages_are_german_too_and_have_a_way_out() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let (mut browser, _) = open(&server, "ann", "").await;
    browser.language = "de";
    let page = browser.get(ACCOUNT).await;
    page.assert_shows(200, "<html lang=\"de\">");
    page.assert_shows(200, "Dein Konto");
    let log_out = page.body.rsplit("<form").next().unwrap();
    let csrf = log_out.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let fields = [("action", "com.cliquepay.log_out"), ("csrf", csrf)];
    browser.post(ACCOUNT, &fields).await.assert_shows(200, "Du bist abgemeldet");
    browser.get(ACCOUNT).await.assert_shows(200, "name=\"password\"");
}

#[tokio::test]
async fn a_locked_account_has_no_page_and_lets_no_app_in() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let app = server.app().await;
    let (token, refresh) = app.log_in("ann", "PHONE").await;
    let code = app.code("ann", "TABLET").await;
    let (mut browser, _) = open(&server, "ann", "").await;
    let num = server.auth.users.accounts.find("ann").await.unwrap().unwrap().num;
    server.auth.set_locked(num, true).await.unwrap();
    assert_error(&app.exchange(&code).await, 400, "invalid_grant");
    let page = browser.get(ACCOUNT).await;
    page.assert_shows(200, "name=\"password\"");
    browser.submit(&page, &[("username", "ann"), ("password", PASSWORD)]).await.assert_shows(403, "locked");
    let page = browser.get(ACCOUNT).await;
    browser.submit(&page, &[("username", "ann"), ("password", "wrong password")]).await.assert_shows(403, "wrong");
    // What an app has got stays its own, and is of use again later.
    let (status, refreshed) = app.refresh(&refresh).await;
    assert_eq!(status, 200, "{refreshed}");
    let new = text(&refreshed, "access_token");
    for token in [&token, &new] {
        assert_code(&server.get(WHOAMI, Some(token)).await, 401, "M_USER_LOCKED");
    }
    server.auth.set_locked(num, false).await.unwrap();
    assert!(server.works(&new).await);
}

#[tokio::test]
async fn nobody_suspended_changes_their_name() {
    let server = Server::with_oauth();
    server.user("ann").await;
    let (mut browser, page) = open(&server, "ann", "?action=org.matrix.profile").await;
    let num = server.auth.users.accounts.find("ann").await.unwrap().unwrap().num;
    server.auth.set_suspended(num, true).await.unwrap();
    send(&mut browser, &page, &[("display_name", "Ann")]).await.assert_shows(403, "suspended");
    assert!(server.hook.names.lock().is_empty());
}
