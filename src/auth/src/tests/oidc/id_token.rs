use super::*;

fn site() -> Site {
    let mut config = sso_config();
    config.oidc[0].id_token_login = true;
    config.oidc[0].id_token_audiences = vec!["phone-app".to_owned()];
    Site::with(config)
}

async fn log_in(site: &Site, token: &str) -> Answer {
    site.server.post(LOGIN, None, json!({ "type": "org.matrix.login.jwt", "token": token })).await
}

#[tokio::test]
async fn an_id_token_opens_the_account_of_its_subject() {
    let site = site();
    let token = site.op.id_token("ann", None, "x");
    let stranger = log_in(&site, &token).await;
    assert_code(&stranger, 403, "M_FORBIDDEN");
    assert!(site.accounts().await.is_empty());
    site.log_in("ann").await;
    let (status, body) = log_in(&site, &token).await;
    assert_eq!((status, &body["user_id"]), (200, &json!("@ann:example.org")));
    site.op.tamper(|draft| draft.claims["aud"] = "phone-app".into());
    assert_eq!(log_in(&site, &site.op.id_token("ann", None, "x")).await.0, 200);
    assert_code(
        &site.server.post(LOGIN, None, json!({ "type": "org.matrix.login.jwt" })).await,
        400,
        "M_MISSING_PARAM",
    );
}

#[tokio::test]
async fn id_tokens_that_are_not_right_are_refused() {
    let site = site();
    site.log_in("ann").await;
    let edits: [fn(&mut op::Draft); 7] = [
        |draft| draft.claims["aud"] = "another".into(),
        |draft| draft.claims["iss"] = "https://evil.example".into(),
        |draft| draft.claims["token_use"] = "access".into(),
        |draft| draft.claims["exp"] = (draft.claims["iat"].as_u64().unwrap() - 30).into(),
        |draft| draft.sign = op::Sign::Rs256(2),
        |draft| draft.header["alg"] = "none".into(),
        |draft| {
            draft.header["alg"] = "HS256".into();
            draft.sign = op::Sign::PublicKeyAsSecret;
        },
    ];
    for edit in edits {
        site.op.tamper(edit);
        assert_code(&log_in(&site, &site.op.id_token("ann", None, "x")).await, 403, "M_FORBIDDEN");
    }
    for nonsense in ["", "x", "a.b.c", "..", "e30.e30."] {
        assert_code(&log_in(&site, nonsense).await, 403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn id_tokens_are_taken_only_where_that_is_switched_on() {
    let site = Site::new();
    site.log_in("ann").await;
    assert_code(&log_in(&site, &site.op.id_token("ann", None, "x")).await, 400, "M_UNKNOWN");
}

#[tokio::test]
async fn an_id_token_from_before_the_end_of_a_session_opens_nothing() {
    let site = site();
    site.log_in("ann").await;
    let token = site.op.id_token("ann", None, "x");
    site.op.disable("ann");
    site.server.clock.advance(900_000);
    site.server.auth.recheck_upstream().await.unwrap();
    assert_code(&log_in(&site, &token).await, 403, "M_FORBIDDEN");
    site.server.clock.advance(1000);
    let later = site.op.id_token("ann", None, "x");
    assert_eq!(log_in(&site, &later).await.0, 200);
}
