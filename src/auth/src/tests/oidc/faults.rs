use super::{op::Sign, *};

/// A log-in at which the provider's answer is changed, by a newcomer and by somebody with an account: refused both times, and
/// nothing is made or touched.
async fn refused(edit: impl Fn(&mut op::Draft) + Clone + Send + 'static) {
    let site = Site::new();
    site.log_in("ann").await;
    let mut before = site.server.db.stats().snapshot().commits;
    for user in ["bob", "ann"] {
        site.op.set_groups(user, &["cliquepay-admin"]);
        site.op.tamper(edit.clone());
        let mut browser = site.browser();
        let page = site.return_as(&mut browser, user).await;
        page.assert_shows(403, "was not believed");
        assert_eq!(site.accounts().await, ["@ann:example.org"]);
        assert!(!site.account("ann").await.unwrap().admin);
        let after = site.server.db.stats().snapshot().commits;
        assert_eq!(std::mem::replace(&mut before, after), after, "something was written");
    }
}

#[tokio::test]
async fn a_wrong_nonce_is_refused() {
    refused(|draft| draft.claims["nonce"] = "an attacker's".into()).await;
    refused(|draft| drop(draft.claims.as_object_mut().unwrap().remove("nonce"))).await;
}

#[tokio::test]
async fn a_wrong_issuer_is_refused() {
    refused(|draft| draft.claims["iss"] = format!("{}x", op::ISSUER).into()).await;
    refused(|draft| drop(draft.claims.as_object_mut().unwrap().remove("iss"))).await;
}

#[tokio::test]
async fn a_wrong_audience_is_refused() {
    refused(|draft| draft.claims["aud"] = "another-client".into()).await;
    refused(|draft| draft.claims["aud"] = json!(["another-client"])).await;
    refused(|draft| drop(draft.claims.as_object_mut().unwrap().remove("aud"))).await;
    // Made out for several, it must say who asked for it; and that must be us.
    refused(|draft| draft.claims["aud"] = json!([op::CLIENT_ID, "another-client"])).await;
    refused(|draft| draft.claims["azp"] = "another-client".into()).await;
}

pub(in crate::tests) async fn an_expired_token_is_refused() {
    refused(|draft| draft.claims["exp"] = (draft.claims["iat"].as_u64().unwrap() - 30).into()).await;
    refused(|draft| drop(draft.claims.as_object_mut().unwrap().remove("exp"))).await;
    refused(|draft| draft.claims["exp"] = "tomorrow".into()).await;
}

pub(in crate::tests) async fn a_token_that_is_not_valid_yet_is_refused() {
    refused(|draft| draft.claims["nbf"] = (draft.claims["iat"].as_u64().unwrap() + 31).into()).await;
    refused(|draft| draft.claims["iat"] = (draft.claims["iat"].as_u64().unwrap() + 31).into()).await;
    refused(|draft| drop(draft.claims.as_object_mut().unwrap().remove("iat"))).await;
}

#[tokio::test]
async fn clocks_may_differ_a_little() {
    let site = Site::new();
    site.log_in("ann").await;
    site.op.tamper(|draft| {
        let now = draft.claims["iat"].as_u64().unwrap();
        draft.claims["exp"] = (now - 29).into();
        draft.claims["nbf"] = (now + 30).into();
    });
    site.return_as(&mut site.browser(), "ann").await.login_token();
}

pub(in crate::tests) async fn alg_none_is_refused() {
    for name in ["none", "None", "NONE", ""] {
        refused(move |draft| {
            draft.header["alg"] = name.into();
            draft.sign = Sign::Nothing;
        })
        .await;
    }
    refused(|draft| draft.sign = Sign::Nothing).await;
}

pub(in crate::tests) async fn hs256_with_the_public_key_is_refused() {
    refused(|draft| {
        draft.header["alg"] = "HS256".into();
        draft.sign = Sign::PublicKeyAsSecret;
    })
    .await;
    // Nor does it help to name an algorithm that is allowed.
    refused(|draft| draft.sign = Sign::PublicKeyAsSecret).await;
}

#[tokio::test]
async fn an_algorithm_that_is_not_configured_is_refused() {
    refused(|draft| draft.header["alg"] = "PS256".into()).await;
    refused(|draft| draft.header["alg"] = "ES256".into()).await;
}

pub(in crate::tests) async fn a_key_of_somebody_else_is_refused() {
    refused(|draft| draft.sign = Sign::Rs256(2)).await;
    // Also where the token brings the key along.
    refused(|draft| {
        draft.header["jku"] = "https://evil.example/keys".into();
        draft.header["jwk"] = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        draft.sign = Sign::Rs256(2);
    })
    .await;
    // The other key of the provider is one, but not the one that is named.
    refused(|draft| draft.sign = Sign::Rs256(1)).await;
    refused(|draft| draft.header["crit"] = json!(["exp"])).await;
}

#[tokio::test]
async fn an_unknown_key_is_refused() {
    refused(|draft| {
        draft.header["kid"] = "nobody's".into();
        draft.sign = Sign::Rs256(2);
    })
    .await;
    // Without a name it could be either of two.
    refused(|draft| drop(draft.header.as_object_mut().unwrap().remove("kid"))).await;
}

pub(in crate::tests) async fn an_access_token_is_no_id_token() {
    refused(|draft| draft.claims["token_use"] = "access".into()).await;
    refused(|draft| draft.claims["token_use"] = json!(["id"])).await;
}

#[tokio::test]
async fn a_wrong_at_hash_is_refused() {
    refused(|draft| draft.claims["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA".into()).await;
    refused(|draft| draft.claims["at_hash"] = 5.into()).await;
}

#[tokio::test]
async fn a_token_of_nobody_is_refused() {
    refused(|draft| draft.claims["sub"] = "".into()).await;
    refused(|draft| draft.claims["sub"] = "x".repeat(256).into()).await;
    refused(|draft| drop(draft.claims.as_object_mut().unwrap().remove("sub"))).await;
}

#[tokio::test]
async fn a_key_that_was_rotated_is_followed_and_unknown_ones_cost_one_request_a_minute() {
    let site = Site::new();
    site.log_in("ann").await;
    assert_eq!(site.op.calls("jwks.json"), 1);
    let rotated = |draft: &mut op::Draft| {
        draft.header["kid"] = "new".into();
        draft.sign = Sign::Rs256(2);
    };
    site.op.publish("new", 2);
    // At once after the keys were fetched they are not fetched again.
    site.op.tamper(rotated);
    site.return_as(&mut site.browser(), "ann").await.assert_shows(403, "was not believed");
    assert_eq!(site.op.calls("jwks.json"), 1);
    site.server.clock.advance(60_000);
    site.op.tamper(rotated);
    site.return_as(&mut site.browser(), "ann").await.login_token();
    assert_eq!(site.op.calls("jwks.json"), 2);
    // The old key is not believed any more.
    site.return_as(&mut site.browser(), "ann").await.assert_shows(403, "was not believed");
    assert_eq!(site.op.calls("jwks.json"), 2);
}

pub(in crate::tests) async fn a_mixed_up_state_is_refused() {
    let site = Site::new();
    site.log_in("ann").await;
    let mut browser = site.browser();
    let first = site.op.authorize(&site.leave(&mut browser).await, "ann");
    let asked = site.op.calls("/token");
    for wrong in ["AAAAAAAAAAAAAAAAAAAAAAAA", ""] {
        let (start, _) = first.split_once("&state=").unwrap();
        browser.get(&format!("{start}&state={wrong}")).await.assert_shows(400, "This log-in is over");
    }
    // Twice in one address: nobody knows which is meant.
    browser.get(&format!("{first}&state=x")).await.assert_shows(400, "This log-in is over");
    assert_eq!(site.op.calls("/token"), asked, "the code was used");
    browser.get(&first).await.login_token();
}

pub(in crate::tests) async fn a_code_of_another_log_in_is_refused() {
    let site = Site::new();
    site.log_in("ann").await;
    site.log_in("eve").await;
    // Eve has a code of her own and has Ann's browser come back with it: the verifier is not the one it was made for.
    let eves = site.op.authorize(&site.leave(&mut site.browser()).await, "eve");
    let code = eves.split_once("code=").unwrap().1.split('&').next().unwrap();
    let mut browser = site.browser();
    let anns = site.op.authorize(&site.leave(&mut browser).await, "ann");
    let (start, state) = anns.split_once("&state=").unwrap();
    let swapped = format!("{}code={code}&state={state}", start.split_once("code=").unwrap().0);
    browser.get(&swapped).await.assert_shows(403, "was not believed");
}

pub(in crate::tests) async fn an_answer_of_another_provider_is_refused() {
    let mut config = sso_config();
    config.oidc.push(provider(json!({ "id": "other", "issuer": "https://other.example" })));
    let site = Site::with(config);
    site.log_in("ann").await;
    let asked = site.op.calls("/token");
    for (from, to) in [("/callback/cognito", "/callback/other"), ("&state", "&iss=https%3A%2F%2Fother.example&state")] {
        let mut browser = site.browser();
        let back = site.op.authorize(&site.leave(&mut browser).await, "ann").replace(from, to);
        browser.get(&back).await.assert_shows(400, "was not believed");
        // The state is used up, so that nothing can be tried.
        browser.get(&back.replace(to, from)).await.assert_shows(400, "This log-in is over");
    }
    assert_eq!(site.op.calls("/token"), asked);
}

pub(in crate::tests) async fn a_code_is_good_once() {
    let site = Site::new();
    site.log_in("ann").await;
    let mut browser = site.browser();
    let back = site.op.authorize(&site.leave(&mut browser).await, "ann");
    let cookies = browser.cookies.clone();
    browser.get(&back).await.login_token();
    browser.cookies = cookies;
    browser.get(&back).await.assert_shows(400, "This log-in is over");
}

pub(in crate::tests) async fn a_log_in_goes_on_in_the_browser_that_began_it_only() {
    let site = Site::new();
    site.log_in("ann").await;
    let mut browser = site.browser();
    let back = site.op.authorize(&site.leave(&mut browser).await, "ann");
    // Without a cookie, and with that of another log-in.
    let mut other = site.browser();
    other.get(&back).await.assert_shows(403, "in another browser");
    site.leave(&mut other).await;
    other.get(&back).await.assert_shows(403, "in another browser");
    let (name, value) =
        (browser.cookies.keys().next().unwrap().clone(), other.cookies.values().next().unwrap().clone());
    other.cookies.insert(name, value);
    other.get(&back).await.assert_shows(403, "in another browser");
    // That took nothing from the one that began it.
    browser.get(&back).await.login_token();
}

#[tokio::test]
async fn the_cookie_is_for_this_host_https_and_a_short_while_only() {
    let site = Site::new();
    let page = site.browser().get(&redirect_to(CLIENT)).await;
    let cookie = page.headers.get(header::SET_COOKIE).unwrap().to_str().unwrap();
    assert!(cookie.starts_with("__Host-cliquepay-login-"), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    let mut config = sso_config();
    config.public_base_url = Some("http://127.0.0.1:8008/".to_owned());
    let page = Site::with(config).browser().get(&redirect_to(CLIENT)).await;
    let cookie = page.headers.get(header::SET_COOKIE).unwrap().to_str().unwrap();
    assert!(cookie.starts_with("cliquepay-login-") && cookie.ends_with("; HttpOnly; SameSite=Lax"), "{cookie}");
}

#[tokio::test]
async fn a_log_in_that_takes_too_long_is_over() {
    let site = Site::new();
    let mut browser = site.browser();
    let back = site.op.authorize(&site.leave(&mut browser).await, "ann");
    site.server.clock.advance(900_000);
    browser.get(&back).await.assert_shows(400, "This log-in is over");
}

#[tokio::test]
async fn a_log_in_that_was_cancelled_says_so() {
    let site = Site::new();
    for (error, words) in [("access_denied", "was cancelled"), ("server_error", "was not believed")] {
        let mut browser = site.browser();
        let back = site.op.authorize(&site.leave(&mut browser).await, "ann");
        let (start, state) = back.split_once("?code=").unwrap();
        let state = state.split_once("&state=").unwrap().1;
        browser.get(&format!("{start}?error={error}&state={state}")).await.assert_shows(403, words);
    }
    assert!(site.accounts().await.is_empty());
}

#[tokio::test]
async fn a_provider_that_is_down_is_named_as_the_reason() {
    let site = Site::new();
    site.op.set_down(true);
    site.browser().get(&redirect_to(CLIENT)).await.assert_shows(502, "cannot be used at the moment");
    site.op.set_down(false);
    let mut browser = site.browser();
    let back = site.op.authorize(&site.leave(&mut browser).await, "ann");
    site.op.set_down(true);
    browser.get(&back).await.assert_shows(502, "cannot be used at the moment");
}

#[tokio::test]
async fn a_closed_account_stays_closed() {
    let site = Site::new();
    site.log_in("ann").await;
    let ann = site.account("ann").await.unwrap();
    site.server.auth.users.deactivate(ann.num).await.unwrap();
    site.return_as(&mut site.browser(), "ann").await.assert_shows(403, "This account was closed");
}

#[tokio::test]
async fn a_provider_that_announces_what_it_may_not_is_not_used() {
    for (name, value) in [
        ("issuer", "https://evil.example"),
        ("authorization_endpoint", "javascript:alert(1)"),
        ("authorization_endpoint", "http://evil.example/authorize"),
        ("authorization_endpoint", "http://127.0.0.1/authorize"),
    ] {
        let site = Site::new();
        site.op.announce(name, value);
        site.browser().get(&redirect_to(CLIENT)).await.assert_shows(502, "cannot be used at the moment");
    }
    for (name, value) in [("token_endpoint", "http://127.0.0.1:1/token"), ("jwks_uri", "http://127.0.0.1:1/keys")] {
        let site = Site::new();
        site.op.announce(name, value);
        let mut browser = site.browser();
        let back = site.op.authorize(&site.leave(&mut browser).await, "ann");
        browser.get(&back).await.assert_shows(502, "cannot be used at the moment");
        assert_eq!(site.op.calls(value), 0);
    }
}

pub(in crate::tests) async fn keys_of_other_kinds_are_used_where_their_algorithm_is_configured_and_never_confused() {
    let mut config = sso_config();
    config.oidc = vec![provider(json!({ "algorithms": ["RS256", "ES256"] }))];
    let site = Site::with(config);
    site.log_in("ann").await;
    let curve = |draft: &mut op::Draft| {
        draft.header = json!({ "alg": "ES256", "kid": "curve" });
        draft.sign = Sign::Es256;
    };
    site.op.tamper(curve);
    site.return_as(&mut site.browser(), "ann").await.login_token();
    let confused: [fn(&mut op::Draft); 3] = [
        // The curve's key by the name of an RSA key, an RSA signature by the name of the curve's key, and one that says it is another.
        |draft| {
            draft.header = json!({ "alg": "ES256", "kid": "id+key/1=" });
            draft.sign = Sign::Es256;
        },
        |draft| draft.header = json!({ "alg": "RS256", "kid": "curve" }),
        |draft| draft.header = json!({ "alg": "ES256", "kid": "curve" }),
    ];
    for edit in confused {
        site.op.tamper(edit);
        site.return_as(&mut site.browser(), "ann").await.assert_shows(403, "was not believed");
    }
}
