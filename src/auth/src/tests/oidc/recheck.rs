use super::*;

const BOUND_MS: u64 = 900_000;

async fn recheck(site: &Site) {
    site.server.auth.recheck_upstream().await.unwrap();
}

#[tokio::test]
async fn a_user_who_was_disabled_upstream_is_out_within_the_bound() {
    let site = Site::new();
    let (ann, bob) = (site.log_in("ann").await, site.log_in("bob").await);
    let second = site.log_in("ann").await;
    site.op.disable("ann");
    site.server.clock.advance(BOUND_MS - 1);
    recheck(&site).await;
    assert!(site.server.works(&ann).await, "nobody was asked yet");
    site.server.clock.advance(1);
    recheck(&site).await;
    for token in [&ann, &second] {
        assert_code(&site.server.get(WHOAMI, Some(token)).await, 401, "M_UNKNOWN_TOKEN");
    }
    assert!(site.server.works(&bob).await);
    // It is not asked again about ann, and about bob it goes on.
    let asked = site.op.calls("/token");
    site.server.clock.advance(BOUND_MS);
    recheck(&site).await;
    assert_eq!(site.op.calls("/token"), asked + 1);
    assert!(site.server.works(&bob).await);
}

/// A refresh token of Cognito's ends after some weeks by itself: that must not cost anybody their keys.
#[tokio::test]
async fn who_is_logged_out_by_the_provider_keeps_their_devices_for_a_month() {
    let site = Site::new();
    let token = site.log_in("ann").await;
    let ann = site.account("ann").await.unwrap();
    let devices = || async { site.server.auth.users.devices.list(ann.num).await.unwrap() };
    let before = devices().await;
    site.op.disable("ann");
    site.server.clock.advance(BOUND_MS);
    recheck(&site).await;
    let answer = site.server.get(WHOAMI, Some(&token)).await;
    assert_code(&answer, 401, "M_UNKNOWN_TOKEN");
    assert_eq!(answer.1["soft_logout"], true);
    site.server.clock.advance(BOUND_MS);
    recheck(&site).await;
    assert_eq!(devices().await.len(), 1);
    // With the same device they are in again; another one that they have no more goes when its time has come.
    site.op.enable("ann");
    let login = site.return_as(&mut site.browser(), "ann").await.login_token();
    let device = before[0].device_id.to_string();
    let body = json!({ "type": "m.login.token", "token": login, "device_id": device });
    let (status, again) = site.server.post(LOGIN, None, body).await;
    assert_eq!((status, &again["device_id"]), (200, &json!(device)));
    site.log_in("ann").await;
    site.op.disable("ann");
    site.server.clock.advance(BOUND_MS);
    recheck(&site).await;
    site.server.clock.advance(BOUND_MS);
    recheck(&site).await;
    // Logged in without the provider.
    let tokens = users::tokens::NewTokens { access: "live", expires_ts: None, refresh: None };
    let new = users::devices::NewDevice { device_id: "LIVE".into(), display_name: None, tokens };
    site.server.auth.users.devices.create(ann.num, &new).await.unwrap();
    site.server.clock.advance(30 * 24 * 3_600_000 - BOUND_MS - 1);
    recheck(&site).await;
    assert_eq!(devices().await.len(), 3);
    site.server.clock.advance(1);
    recheck(&site).await;
    let left: Vec<_> = devices().await.into_iter().map(|device| device.device_id).collect();
    assert_eq!(left, ["LIVE"], "whoever is logged in stays so");
}

#[tokio::test]
async fn a_login_token_from_before_the_end_does_not_outlive_it() {
    let site = Site::new();
    site.log_in("ann").await;
    site.op.disable("ann");
    site.server.clock.advance(BOUND_MS - 1);
    let pending = site.return_as(&mut site.browser(), "ann").await.login_token();
    // The grant was renewed by that log-in, and is due later: so is the end.
    site.server.clock.advance(1);
    let token = site.redeem(&pending).await;
    site.server.clock.advance(BOUND_MS);
    recheck(&site).await;
    assert!(!site.server.works(&token).await);
}

#[tokio::test]
async fn sessions_that_come_of_older_login_tokens_end_with_the_last_of_those() {
    let site = Site::new();
    site.log_in("ann").await;
    let ann = site.account("ann").await.unwrap();
    site.op.disable("ann");
    site.server.clock.advance(BOUND_MS);
    // Given out a moment before the end, and used behind it.
    let until = site.server.clock.now_ms() + 120_000;
    site.server.auth.users.tokens.issue_login(ann.num, "pending", until).await.unwrap();
    recheck(&site).await;
    let token = site.redeem("pending").await;
    site.server.clock.advance(121_000);
    recheck(&site).await;
    assert!(!site.server.works(&token).await);
}

#[tokio::test]
async fn whoever_is_enabled_again_logs_in_anew() {
    let site = Site::new();
    site.log_in("ann").await;
    site.op.disable("ann");
    site.server.clock.advance(BOUND_MS);
    recheck(&site).await;
    site.op.enable("ann");
    let token = site.log_in("ann").await;
    for _ in 0..3 {
        site.server.clock.advance(BOUND_MS);
        recheck(&site).await;
    }
    assert!(site.server.works(&token).await);
    assert_eq!(site.accounts().await, ["@ann:example.org"]);
}

#[tokio::test]
async fn a_provider_that_is_down_logs_nobody_out_and_is_asked_again() {
    let site = Site::new();
    let token = site.log_in("ann").await;
    site.op.set_down(true);
    site.server.clock.advance(BOUND_MS);
    recheck(&site).await;
    assert!(site.server.works(&token).await);
    site.op.set_down(false);
    site.op.disable("ann");
    site.server.clock.advance(59_999);
    recheck(&site).await;
    assert!(site.server.works(&token).await);
    site.server.clock.advance(1);
    recheck(&site).await;
    assert!(!site.server.works(&token).await);
}

#[tokio::test]
async fn refresh_tokens_that_are_rotated_are_followed() {
    let site = Site::new();
    site.op.rotate_refresh_tokens();
    let token = site.log_in("ann").await;
    for _ in 0..3 {
        site.server.clock.advance(BOUND_MS);
        recheck(&site).await;
    }
    assert!(site.server.works(&token).await);
}

#[tokio::test]
async fn roles_follow_the_groups_without_a_log_in() {
    let site = Site::new();
    site.op.set_groups("ann", &["cliquepay-admin"]);
    let token = site.log_in("ann").await;
    assert!(site.account("ann").await.unwrap().admin);
    site.op.set_groups("ann", &[]);
    site.server.clock.advance(BOUND_MS);
    recheck(&site).await;
    assert!(!site.account("ann").await.unwrap().admin);
    assert!(site.server.works(&token).await);
}

#[tokio::test]
async fn a_refreshed_token_of_somebody_else_changes_nothing() {
    let site = Site::new();
    let token = site.log_in("ann").await;
    site.server.clock.advance(BOUND_MS);
    site.op.tamper(|draft| {
        draft.claims["sub"] = "somebody-else".into();
        draft.claims["cognito:groups"] = json!(["cliquepay-admin"]);
    });
    recheck(&site).await;
    assert!(site.server.works(&token).await && !site.account("ann").await.unwrap().admin);
}

#[tokio::test]
async fn refresh_tokens_are_kept_encrypted() {
    let site = Site::new();
    site.log_in("ann").await;
    let everything =
        site.server.db.scan_raw(store::Keyspace::Index, vec![0].into(), vec![255].into(), store::Page::first(10_000));
    let everything = everything.await.unwrap();
    assert!(everything.iter().any(|(_, value)| value.windows(6).any(|part| part == b"sealed")), "no grant was found");
    assert!(!everything.iter().any(|(_, value)| value.windows(7).any(|part| part == b"refresh")));
}
