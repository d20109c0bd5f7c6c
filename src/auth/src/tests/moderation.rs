//! Accounts that administrators lock and suspend.

use super::*;

const ADMIN: &str = "/_matrix/client/v1/admin";

impl Server {
    async fn admin(&self, name: &str) -> String {
        let (token, _) = self.user(name).await;
        let num = self.num(name).await;
        self.auth.set_admin(num, true).await.unwrap();
        token
    }

    async fn num(&self, name: &str) -> UserNum {
        self.auth.users.accounts.find(name).await.unwrap().unwrap().num
    }

    async fn put(&self, what: &str, who: &str, token: &str, body: Value) -> Answer {
        let path = format!("{ADMIN}/{what}/{who}");
        self.call(Method::PUT, &path, Some(token), body.to_string().into()).await
    }

    async fn lock(&self, who: &str, token: &str, locked: bool) {
        let body = json!({ "locked": locked });
        assert_eq!(self.put("lock", who, token, body.clone()).await, (200, body));
    }
}

#[track_caller]
fn assert_locked(answer: &Answer) {
    assert_code(answer, 401, "M_USER_LOCKED");
    assert_eq!(answer.1["soft_logout"], true);
}

#[tokio::test]
async fn a_locked_account_is_of_no_use_until_it_is_unlocked() {
    let server = Server::new();
    let root = server.admin("boss").await;
    let (token, _) = server.user("ann").await;
    let body = json!({ "type": "m.login.password", "refresh_token": true, "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": "ann" } });
    let (_, second) = server.post(LOGIN, None, body).await;
    let (second, refresh) = (text(&second, "access_token"), text(&second, "refresh_token"));
    let refreshed = async || server.post("/_matrix/client/v3/refresh", None, json!({ "refresh_token": refresh })).await;
    assert!(server.works(&token).await);
    server.lock("@ann:example.org", &root, true).await;
    assert_locked(&server.get(WHOAMI, Some(&token)).await);
    assert_locked(&server.get("/_matrix/client/v3/devices", Some(&second)).await);
    assert_locked(&server.log_in("ann", PASSWORD).await);
    assert_code(&server.log_in("ann", "wrong password").await, 403, "M_FORBIDDEN");
    assert_locked(&refreshed().await);
    // Sessions stay, and so does the refresh token.
    server.lock("@ann:example.org", &root, false).await;
    assert!(server.works(&token).await && server.works(&second).await);
    assert_eq!(server.log_in("ann", PASSWORD).await.0, 200);
    assert_eq!(refreshed().await.0, 200);
}

#[tokio::test]
async fn who_is_locked_can_log_out() {
    let server = Server::new();
    let root = server.admin("boss").await;
    let (token, _) = server.user("ann").await;
    let others: Vec<String> = [server.log_in("ann", PASSWORD).await, server.log_in("ann", PASSWORD).await]
        .map(|answer| text(&answer.1, "access_token"))
        .into();
    server.lock("@ann:example.org", &root, true).await;
    assert_eq!(server.post("/_matrix/client/v3/logout", Some(&token), json!({})).await.0, 200);
    assert_code(&server.get(WHOAMI, Some(&token)).await, 401, "M_UNKNOWN_TOKEN");
    assert_locked(&server.get(WHOAMI, Some(&others[0])).await);
    assert_eq!(server.post("/_matrix/client/r0/logout/all", Some(&others[0]), json!({})).await.0, 200);
    assert_code(&server.get(WHOAMI, Some(&others[1])).await, 401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn who_is_suspended_logs_in_and_is_known_as_such() {
    let server = Server::new();
    let root = server.admin("boss").await;
    let (token, _) = server.user("ann").await;
    let suspended = async |token: &str| {
        let (headers, uri) = (http::HeaderMap::new(), "/".parse().unwrap());
        let meta = http_kit::RequestMeta::new(&headers, &uri, None);
        server.auth.authenticate(token, meta).await.unwrap().suspended
    };
    assert!(!suspended(&token).await);
    let body = json!({ "suspended": true });
    assert_eq!(server.put("suspend", "@ann:example.org", &root, body.clone()).await, (200, body));
    assert!(suspended(&token).await);
    let new = text(&server.log_in("ann", PASSWORD).await.1, "access_token");
    assert!(suspended(&new).await);
    let path = format!("{ADMIN}/suspend/@ann:example.org");
    assert_eq!(server.get(&path, Some(&root)).await, (200, json!({ "suspended": true })));
    let body = json!({ "suspended": false });
    assert_eq!(server.put("suspend", "@ann:example.org", &root, body.clone()).await, (200, body));
    assert!(!suspended(&token).await && !suspended(&new).await);
}

#[tokio::test]
async fn administrators_do_this_to_others_who_are_none() {
    let server = Server::new();
    let (root, _other) = (server.admin("boss").await, server.admin("other").await);
    let (ann, _) = server.user("ann").await;
    let (_, _) = server.user("ben").await;
    server.auth.users.deactivate(server.num("ben").await).await.unwrap();
    for (what, field) in [("lock", "locked"), ("suspend", "suspended")] {
        let get = async |who: &str, token: &str| server.get(&format!("{ADMIN}/{what}/{who}"), Some(token)).await;
        let put = async |who: &str, token: &str| server.put(what, who, token, json!({ field: true })).await;
        // Nobody else learns who has an account.
        for who in ["@boss:example.org", "@nobody:example.org", "@ann:example.org", "@x:elsewhere.org"] {
            assert_code(&get(who, &ann).await, 403, "M_FORBIDDEN");
            assert_code(&put(who, &ann).await, 403, "M_FORBIDDEN");
        }
        for (who, status, code) in [
            ("@other:example.org", 403, "M_FORBIDDEN"),
            ("@nobody:example.org", 404, "M_NOT_FOUND"),
            ("@ben:example.org", 404, "M_NOT_FOUND"),
            ("@x:elsewhere.org", 400, "M_INVALID_PARAM"),
        ] {
            assert_code(&get(who, &root).await, status, code);
            assert_code(&put(who, &root).await, status, code);
        }
        assert_code(&put("@boss:example.org", &root).await, 403, "M_FORBIDDEN");
        assert_eq!(get("@boss:example.org", &root).await, (200, json!({ field: false })));
        assert_eq!(get("@ann:example.org", &root).await, (200, json!({ field: false })));
        assert_code(&server.put(what, "@ann:example.org", &root, json!({})).await, 400, "M_MISSING_PARAM");
    }
    assert!(server.works(&root).await && server.works(&ann).await);
}
