use super::*;

const REFRESH: &str = "/_matrix/client/v3/refresh";
const LOGOUT: &str = "/_matrix/client/v3/logout";

#[tokio::test]
async fn the_ways_to_log_in_are_listed() {
    let server = Server::new();
    let by_token = json!({ "type": "m.login.token", "get_login_token": true });
    assert_eq!(server.get(LOGIN, None).await, (200, json!({ "flows": [{ "type": "m.login.password" }, by_token] })));
    let mut off = config();
    off.password.enabled = false;
    let server = Server::with(off);
    server.user("ann").await;
    assert_eq!(server.get(LOGIN, None).await, (200, json!({ "flows": [by_token] })));
    assert_code(&server.log_in("ann", PASSWORD).await, 400, "M_UNKNOWN");
}

#[tokio::test]
async fn a_user_can_be_named_in_every_usual_way() {
    let server = Server::new();
    server.user("ann").await;
    for name in ["ann", "ANN", "@ann:example.org", "@Ann:example.org"] {
        let (status, body) = server.log_in(name, PASSWORD).await;
        assert_eq!((status, &body["user_id"]), (200, &json!("@ann:example.org")), "{name}");
        assert!(server.works(&text(&body, "access_token")).await);
    }
    let old = json!({ "type": "m.login.password", "user": "ann", "password": PASSWORD });
    assert_eq!(server.post(LOGIN, None, old).await.0, 200);
    for path in ["/_matrix/client/r0/login", LOGIN] {
        assert_eq!(server.post(path, None, password_login("ann", PASSWORD)).await.0, 200);
    }
    // An old token does not matter here.
    assert_eq!(server.post(LOGIN, Some("cp_old"), password_login("ann", PASSWORD)).await.0, 200);
}

#[tokio::test]
async fn what_is_wrong_is_not_told_apart() {
    let server = Server::new();
    server.user("ann").await;
    let wrong = server.log_in("ann", "wrong password").await;
    assert_code(&wrong, 403, "M_FORBIDDEN");
    for name in ["bob", "@ann:elsewhere.org", "@ann", "", "a:b", "\u{0}"] {
        assert_eq!(server.log_in(name, PASSWORD).await, wrong, "{name}");
    }
    assert_eq!(server.log_in("ann", &"x".repeat(10_000)).await, wrong);
}

#[tokio::test]
async fn odd_requests_are_refused() {
    let server = Server::new();
    server.user("ann").await;
    for (body, status, code) in [
        (json!({}), 400, "M_MISSING_PARAM"),
        (json!({ "type": "m.login.token", "token": "x" }), 403, "M_FORBIDDEN"),
        (json!({ "type": "org.matrix.login.jwt", "token": "x" }), 400, "M_UNKNOWN"),
        (json!({ "type": "m.login.password", "password": PASSWORD }), 400, "M_MISSING_PARAM"),
        (json!({ "type": "m.login.password", "user": "ann" }), 400, "M_MISSING_PARAM"),
        (
            json!({ "type": "m.login.password", "identifier": { "type": "m.id.user" }, "password": "x" }),
            400,
            "M_MISSING_PARAM",
        ),
        (
            json!({ "type": "m.login.password", "password": "x",
                "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": "a@b" } }),
            400,
            "M_UNKNOWN",
        ),
        (json!({ "type": "m.login.password", "user": "ann", "password": 5 }), 400, "M_BAD_JSON"),
        (json!([]), 400, "M_BAD_JSON"),
    ] {
        assert_code(&server.post(LOGIN, None, body).await, status, code);
    }
    assert_code(&server.call(Method::POST, LOGIN, None, "nonsense".into()).await, 400, "M_NOT_JSON");
    assert_code(&server.call(Method::PUT, LOGIN, None, "{}".into()).await, 405, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn logging_a_device_in_again_ends_its_old_token() {
    let server = Server::new();
    let (first, _) = server.user("ann").await;
    let mut request = password_login("ann", PASSWORD);
    request["device_id"] = "PHONE".into();
    let (_, body) = server.post(LOGIN, None, request.clone()).await;
    assert_eq!(body["device_id"], "PHONE");
    let old = text(&body, "access_token");
    assert!(server.works(&old).await);
    let new = text(&server.post(LOGIN, None, request.clone()).await.1, "access_token");
    assert!(!server.works(&old).await);
    assert!(server.works(&new).await && server.works(&first).await);
    request["device_id"] = "".into();
    assert_eq!(text(&server.post(LOGIN, None, request).await.1, "device_id").len(), 10);
}

#[tokio::test]
async fn logging_out_ends_one_session_or_all() {
    let server = Server::new();
    let (first, _) = server.user("ann").await;
    let (other, _) = server.user("bob").await;
    let second = text(&server.log_in("ann", PASSWORD).await.1, "access_token");
    let third = text(&server.log_in("ann", PASSWORD).await.1, "access_token");
    assert_eq!(server.post(LOGOUT, Some(&second), json!({})).await, (200, json!({})));
    let answer = server.get(WHOAMI, Some(&second)).await;
    assert_code(&answer, 401, "M_UNKNOWN_TOKEN");
    assert_eq!(answer.1["soft_logout"], false);
    assert!(server.works(&first).await && server.works(&third).await);
    let all = server.call(Method::POST, "/_matrix/client/v3/logout/all", Some(&first), Body::empty()).await;
    assert_eq!(all, (200, json!({})));
    assert!(!server.works(&first).await && !server.works(&third).await);
    assert!(server.works(&other).await);
    assert_code(&server.post(LOGOUT, None, json!({})).await, 401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn access_tokens_of_refreshing_clients_end_softly_and_are_exchanged() {
    let server = Server::new();
    server.user("ann").await;
    let mut request = password_login("ann", PASSWORD);
    request["refresh_token"] = true.into();
    let (_, body) = server.post(LOGIN, None, request).await;
    assert_eq!(body["expires_in_ms"], 3_600_000);
    let (access, refresh) = (text(&body, "access_token"), text(&body, "refresh_token"));
    server.clock.advance(3_599_999);
    assert!(server.works(&access).await);
    server.clock.advance(1);
    let ended = server.get(WHOAMI, Some(&access)).await;
    assert_code(&ended, 401, "M_UNKNOWN_TOKEN");
    assert_eq!(ended.1["soft_logout"], true);

    let (status, body) = server.post(REFRESH, None, json!({ "refresh_token": refresh })).await;
    assert_eq!((status, &body["expires_in_ms"]), (200, &json!(3_600_000)));
    let (new_access, new_refresh) = (text(&body, "access_token"), text(&body, "refresh_token"));
    assert_ne!((&access, &refresh), (&new_access, &new_refresh));
    assert!(server.works(&new_access).await);
    // Once the new token was used, the old refresh token is spent.
    let again = server.post(REFRESH, None, json!({ "refresh_token": refresh })).await;
    assert_code(&again, 401, "M_UNKNOWN_TOKEN");
    assert_eq!(server.post(REFRESH, None, json!({ "refresh_token": new_refresh })).await.0, 200);
    // An access token is no refresh token, nor the other way round.
    assert_code(&server.post(REFRESH, None, json!({ "refresh_token": new_access })).await, 401, "M_UNKNOWN_TOKEN");
    assert_code(&server.get(WHOAMI, Some(&new_refresh)).await, 401, "M_UNKNOWN_TOKEN");
    assert_code(&server.post(REFRESH, None, json!({})).await, 400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn becoming_an_administrator_shows_at_once() {
    let server = Server::new();
    let (token, _) = server.user("ann").await;
    let headers = http::HeaderMap::new();
    let uri = http::Uri::from_static("/");
    let who = async || {
        let meta = http_kit::RequestMeta::new(&headers, &uri, None);
        server.auth.authenticate(&token, meta).await.unwrap()
    };
    let requester = who().await;
    assert!(!requester.admin);
    server.auth.set_admin(requester.user, true).await.unwrap();
    assert!(who().await.admin);
    assert_eq!(who().await.user, requester.user);
}

#[tokio::test]
async fn warm_tokens_need_no_store_reads() {
    let server = Server::new();
    let (token, _) = server.user("ann").await;
    let headers = http::HeaderMap::new();
    let uri = http::Uri::from_static("/");
    let meta = || http_kit::RequestMeta::new(&headers, &uri, None);
    server.auth.authenticate(&token, meta()).await.unwrap();
    let before = server.db.stats().snapshot();
    for _ in 0..3 {
        assert_eq!(server.auth.authenticate(&token, meta()).await.unwrap().user_id, "@ann:example.org");
    }
    let after = server.db.stats().snapshot();
    assert!(before.gets > 0);
    assert_eq!((before.gets, before.multi_gets, before.scans), (after.gets, after.multi_gets, after.scans));
}

#[tokio::test]
async fn a_client_that_confirms_it_gets_a_token_for_another() {
    const GET_TOKEN: &str = "/_matrix/client/v1/login/get_token";
    let server = Server::new();
    let (token, _) = server.user("ann").await;
    let (status, asked) = server.post(GET_TOKEN, Some(&token), json!({})).await;
    assert_eq!((status, &asked["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
    let confirmed = json!({ "auth": password_login("ann", PASSWORD) });
    let (status, body) = server.post(GET_TOKEN, Some(&token), confirmed.clone()).await;
    assert_eq!((status, &body["expires_in_ms"]), (200, &json!(120_000)));
    let by_token = json!({ "type": "m.login.token", "token": body["login_token"] });
    let (status, other) = server.post(LOGIN, None, by_token.clone()).await;
    assert_eq!((status, text(&other, "user_id")), (200, "@ann:example.org".to_owned()));
    assert_code(&server.post(LOGIN, None, by_token).await, 403, "M_FORBIDDEN");
    // Each is confirmed anew, and lasts two minutes.
    assert_eq!(server.post(GET_TOKEN, Some(&token), json!({})).await.0, 401);
    let (_, body) = server.post(GET_TOKEN, Some(&token), confirmed).await;
    server.clock.advance(120_000);
    let late = json!({ "type": "m.login.token", "token": body["login_token"] });
    assert_code(&server.post(LOGIN, None, late).await, 403, "M_FORBIDDEN");
}
