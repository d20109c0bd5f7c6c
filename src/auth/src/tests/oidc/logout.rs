use super::*;

const LOGOUT: &str = "/_matrix/client/v3/logout";

/// What goes on behind an answer gets its turns.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_last_log_out_gives_the_refresh_token_back() {
    let site = Site::new();
    let (first, second) = (site.log_in("ann").await, site.log_in("ann").await);
    site.server.post(LOGOUT, Some(&first), json!({})).await;
    settle().await;
    assert!(site.op.revoked().is_empty(), "another device is still logged in");
    assert_eq!(site.server.post(LOGOUT, Some(&second), json!({})).await.0, 200);
    settle().await;
    assert_eq!(site.op.revoked(), ["refresh-code-2"]);
    site.server.clock.advance(3_600_000);
    let asked = site.op.calls("/token");
    site.server.auth.recheck_upstream().await.unwrap();
    assert_eq!(site.op.calls("/token"), asked, "there is nothing left to ask with");
    // Logging in again is as before.
    let third = site.log_in("ann").await;
    assert!(site.server.works(&third).await);
    site.server.post(&format!("{LOGOUT}/all"), Some(&third), json!({})).await;
    settle().await;
    assert_eq!(site.op.revoked().len(), 2);
}

#[tokio::test]
async fn logging_out_works_while_the_provider_is_down() {
    let site = Site::new();
    let token = site.log_in("ann").await;
    site.op.set_down(true);
    assert_eq!(site.server.post(LOGOUT, Some(&token), json!({})).await.0, 200);
    settle().await;
    assert!(!site.server.works(&token).await);
}

#[tokio::test]
async fn the_page_leads_out_of_the_provider_the_way_cognito_wants_it() {
    let site = Site::new();
    let page = site.browser().get("/_cliquepay/login/logout/cognito").await;
    page.assert_shows(200, "Log out of Our accounts");
    assert_eq!(
        page.client_url(),
        "https://example.auth.eu-central-1.amazoncognito.com/logout?client_id=1example23456789\
         &logout_uri=https%3A%2F%2Fmatrix.example.org%2F_cliquepay%2Flogin%2Fout"
    );
    site.browser().get("/_cliquepay/login/out").await.assert_shows(200, "You are logged out");
    site.browser().get("/_cliquepay/login/logout/nobody").await.assert_shows(404, "no such way");
}

#[tokio::test]
async fn the_page_leads_out_of_others_the_standard_way() {
    let mut config = sso_config();
    config.oidc = vec![provider(json!({ "kind": "generic", "logout_url": "https://id.example/out?x=1" }))];
    let site = Site::with(config);
    let page = site.browser().get("/_cliquepay/login/logout/cognito").await;
    assert_eq!(
        page.client_url(),
        "https://id.example/out?x=1&client_id=1example23456789\
         &post_logout_redirect_uri=https%3A%2F%2Fmatrix.example.org%2F_cliquepay%2Flogin%2Fout"
    );
}
