use super::*;

const CHANGE: &str = "/_matrix/client/v3/account/password";
const DEACTIVATE: &str = "/_matrix/client/v3/account/deactivate";

#[tokio::test]
async fn changing_the_password_logs_other_devices_out() {
    let server = Server::new();
    let (token, _) = server.user("ann").await;
    let second = text(&server.log_in("ann", PASSWORD).await.1, "access_token");
    let change = |new: &str, auth: Value| json!({ "new_password": new, "auth": auth });
    let (status, challenge) = server.post(CHANGE, Some(&token), json!({})).await;
    assert_eq!((status, challenge["flows"].as_array().map(Vec::len)), (401, Some(1)));
    let weak = change("short", password_login("ann", PASSWORD));
    assert_code(&server.post(CHANGE, Some(&token), weak).await, 400, "M_WEAK_PASSWORD");
    let wrong = change("a new password", password_login("ann", "wrong password"));
    assert_code(&server.post(CHANGE, Some(&token), wrong).await, 401, "M_FORBIDDEN");
    let none = json!({ "auth": password_login("ann", PASSWORD) });
    assert_code(&server.post(CHANGE, Some(&token), none).await, 400, "M_MISSING_PARAM");
    assert_code(&server.post(CHANGE, None, json!({})).await, 401, "M_MISSING_TOKEN");

    let right = change("a new password", password_login("ann", PASSWORD));
    assert_eq!(server.post(CHANGE, Some(&token), right).await, (200, json!({})));
    assert_code(&server.log_in("ann", PASSWORD).await, 403, "M_FORBIDDEN");
    assert!(server.works(&token).await);
    assert!(!server.works(&second).await);

    let third = text(&server.log_in("ann", "a new password").await.1, "access_token");
    let mut keep = change(PASSWORD, password_login("ann", "a new password"));
    keep["logout_devices"] = false.into();
    assert_eq!(server.post(CHANGE, Some(&token), keep).await.0, 200);
    assert!(server.works(&third).await);
}

#[tokio::test]
async fn a_closed_account_stays_closed() {
    let server = Server::new();
    let (token, _) = server.user("ann").await;
    let second = text(&server.log_in("ann", PASSWORD).await.1, "access_token");
    assert_eq!(server.post(DEACTIVATE, Some(&token), json!({})).await.0, 401);
    let wrong = json!({ "auth": password_login("ann", "wrong password") });
    assert_code(&server.post(DEACTIVATE, Some(&token), wrong).await, 401, "M_FORBIDDEN");
    assert_code(&server.post(DEACTIVATE, None, json!({})).await, 401, "M_MISSING_TOKEN");
    assert!(server.hook.called.lock().is_empty());

    let right = json!({ "auth": password_login("@ann:example.org", PASSWORD), "erase": true });
    let done = server.post(DEACTIVATE, Some(&token), right).await;
    assert_eq!(done, (200, json!({ "id_server_unbind_result": "success" })));
    assert_eq!(*server.hook.called.lock(), [("@ann:example.org".to_owned(), true)]);
    assert!(!server.works(&token).await && !server.works(&second).await);
    assert_code(&server.log_in("ann", PASSWORD).await, 403, "M_USER_DEACTIVATED");
    let again = json!({ "username": "ann", "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
    assert_code(&server.post(REGISTER, None, again).await, 400, "M_USER_IN_USE");
}

#[tokio::test]
async fn an_account_whose_rooms_cannot_be_left_stays_open() {
    let server = Server::new();
    let (token, _) = server.user("ann").await;
    server.hook.fails.store(true, Ordering::Relaxed);
    let close = json!({ "auth": password_login("ann", PASSWORD) });
    let failed = server.post(DEACTIVATE, Some(&token), close.clone()).await;
    assert_code(&failed, 500, "M_UNKNOWN");
    assert!(!failed.1.to_string().contains("locked"));
    assert!(server.works(&token).await);
    server.hook.fails.store(false, Ordering::Relaxed);
    assert_eq!(server.post(DEACTIVATE, Some(&token), close).await.0, 200);
    assert_eq!(*server.hook.called.lock(), [("@ann:example.org".to_owned(), false)]);
}

#[tokio::test]
async fn accounts_have_no_addresses() {
    let server = Server::new();
    let (token, _) = server.user("ann").await;
    let path = "/_matrix/client/v3/account/3pid";
    assert_eq!(server.get(path, Some(&token)).await, (200, json!({ "threepids": [] })));
    assert_code(&server.get(path, None).await, 401, "M_MISSING_TOKEN");
}
