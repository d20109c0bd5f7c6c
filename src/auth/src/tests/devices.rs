use super::*;

const DEVICES: &str = "/_matrix/client/v3/devices";
const DELETE_DEVICES: &str = "/_matrix/client/v3/delete_devices";

fn confirm(name: &str, password: &str) -> Value {
    password_login(name, password)
}

async fn second_device(server: &Server, name: &str) -> (String, String) {
    let (_, body) = server.log_in(name, PASSWORD).await;
    (text(&body, "access_token"), text(&body, "device_id"))
}

async fn delete(server: &Server, token: &str, device: &str, body: Value) -> Answer {
    server.call(Method::DELETE, &format!("{DEVICES}/{device}"), Some(token), body.to_string().into()).await
}

#[tokio::test]
async fn devices_are_listed_shown_and_renamed() {
    let server = Server::new();
    let (token, device) = server.user("ann").await;
    let path = format!("{DEVICES}/{device}");
    let (status, body) = server.get(&path, Some(&token)).await;
    assert_eq!((status, &body["device_id"], &body["display_name"]), (200, &json!(device), &Value::Null));
    assert_eq!((&body["last_seen_ip"], &body["last_seen_ts"]), (&json!("127.0.0.1"), &json!(1_700_000_000_000_u64)));
    let rename =
        async |path: &str, body: Value| server.call(Method::PUT, path, Some(&token), body.to_string().into()).await;
    assert_eq!(rename(&path, json!({ "display_name": "my phone" })).await, (200, json!({})));
    assert_eq!(rename(&path, json!({})).await, (200, json!({})));
    let (_, body) = server.get(DEVICES, Some(&token)).await;
    assert_eq!(body["devices"][0]["display_name"], "my phone");
    assert_eq!(body["devices"].as_array().unwrap().len(), 1);
    let unknown = format!("{DEVICES}/NOPE");
    assert_code(&server.get(&unknown, Some(&token)).await, 404, "M_NOT_FOUND");
    assert_code(&rename(&unknown, json!({ "display_name": "x" })).await, 404, "M_NOT_FOUND");
    assert_code(&rename(&unknown, json!({})).await, 404, "M_NOT_FOUND");
    assert_code(&rename(&path, json!({ "display_name": "x".repeat(2000) })).await, 413, "M_TOO_LARGE");
    let (other, _) = server.user("bob").await;
    assert_code(&server.get(&path, Some(&other)).await, 404, "M_NOT_FOUND");
}

#[tokio::test]
async fn deleting_a_device_must_be_confirmed_with_the_password() {
    let server = Server::new();
    let (token, _) = server.user("ann").await;
    let (second, device) = second_device(&server, "ann").await;
    let no_body = server.call(Method::DELETE, &format!("{DEVICES}/{device}"), Some(&token), Body::empty()).await;
    assert_eq!((no_body.0, &no_body.1["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
    assert_eq!(no_body.1["params"], json!({}));
    assert!(no_body.1["session"].is_string() && no_body.1.get("errcode").is_none());

    let wrong = delete(&server, &token, &device, json!({ "auth": confirm("ann", "wrong password") })).await;
    assert_code(&wrong, 401, "M_FORBIDDEN");
    assert!(wrong.1["session"].is_string() && wrong.1["flows"].is_array() && wrong.1["params"].is_object());
    let dummy = delete(&server, &token, &device, json!({ "auth": { "type": "m.login.dummy" } })).await;
    assert_code(&dummy, 401, "M_FORBIDDEN");
    assert!(server.works(&second).await);

    assert_eq!(delete(&server, &token, &device, json!({ "auth": confirm("ann", PASSWORD) })).await, (200, json!({})));
    assert_code(&server.get(&format!("{DEVICES}/{device}"), Some(&token)).await, 404, "M_NOT_FOUND");
    assert!(!server.works(&second).await);
    assert!(server.works(&token).await);
}

#[tokio::test]
async fn only_the_owner_can_confirm() {
    let server = Server::new();
    let (token, _) = server.user("ann").await;
    server.user("bob").await;
    let (second, device) = second_device(&server, "ann").await;
    for name in ["bob", "@bob:example.org", "nobody"] {
        let answer = delete(&server, &token, &device, json!({ "auth": confirm(name, PASSWORD) })).await;
        assert_code(&answer, 403, "M_FORBIDDEN");
    }
    assert!(server.works(&second).await);
}

#[tokio::test]
async fn a_session_is_for_one_operation_of_one_user_once() {
    let server = Server::new();
    let (ann, _) = server.user("ann").await;
    let (bob, _) = server.user("bob").await;
    let (_, second) = second_device(&server, "ann").await;
    let (_, third) = second_device(&server, "ann").await;
    let session = async |token: &str, device: &str| text(&delete(&server, token, device, json!({})).await.1, "session");
    let with = |session: &str| {
        let mut auth = confirm("ann", PASSWORD);
        auth["session"] = session.into();
        json!({ "auth": auth })
    };
    let first = session(&ann, &second).await;
    assert_code(&delete(&server, &ann, &third, with(&first)).await, 403, "M_FORBIDDEN");
    assert_code(&delete(&server, &bob, &second, with(&first)).await, 403, "M_FORBIDDEN");
    assert_eq!(delete(&server, &ann, &second, with(&first)).await.0, 200);
    // It is used up: the name alone confirms nothing.
    let spent = delete(&server, &ann, &second, json!({ "auth": { "session": first } })).await;
    assert_eq!(spent.0, 401);
    assert_ne!(spent.1["session"], json!(first));
    let late = session(&ann, &third).await;
    server.clock.advance(900_000);
    let answer = delete(&server, &ann, &third, json!({ "auth": { "session": late } })).await;
    assert_ne!(answer.1["session"], json!(late));
}

#[tokio::test]
async fn several_devices_are_deleted_at_once() {
    let server = Server::new();
    let (token, own) = server.user("ann").await;
    let (second, second_id) = second_device(&server, "ann").await;
    let (third, third_id) = second_device(&server, "ann").await;
    let request = |devices: Value, auth: Value| json!({ "devices": devices, "auth": auth });
    let devices = json!([second_id, third_id, "NOPE"]);
    let (status, challenge) = server.post(DELETE_DEVICES, Some(&token), json!({ "devices": devices })).await;
    assert_eq!(status, 401);
    // As matrix-nio sends it: the deprecated `user`, no identifier.
    let auth =
        json!({ "type": "m.login.password", "user": "ann", "password": PASSWORD, "session": challenge["session"] });
    let others = request(json!([own]), auth.clone());
    assert_code(&server.post(DELETE_DEVICES, Some(&token), others).await, 403, "M_FORBIDDEN");
    assert_eq!(server.post(DELETE_DEVICES, Some(&token), request(devices, auth)).await, (200, json!({})));
    assert!(!server.works(&second).await && !server.works(&third).await);
    assert!(server.works(&token).await);
    assert_code(&server.post(DELETE_DEVICES, Some(&token), json!({})).await, 400, "M_MISSING_PARAM");
    assert_code(&server.post(DELETE_DEVICES, None, json!({ "devices": [] })).await, 401, "M_MISSING_TOKEN");
}
