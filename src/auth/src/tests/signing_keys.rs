use super::*;

const UPLOAD: &str = "/_matrix/client/v3/keys/device_signing/upload";

fn master(key: &str) -> Value {
    let name = format!("ed25519:{key}");
    json!({ "master_key": { "user_id": "@ann:example.org", "usage": ["master"], "keys": { name: key } } })
}

#[tokio::test]
async fn the_first_signing_keys_need_no_confirmation_and_others_do() {
    let server = Server::new();
    let (token, _) = server.user("ann").await;
    let (first, second) = (master("AAAA"), master("BBBB"));
    assert_eq!(server.post(UPLOAD, Some(&token), first.clone()).await, (200, json!({})));
    assert_eq!(server.post(UPLOAD, Some(&token), first).await, (200, json!({})));
    let (status, asked) = server.post(UPLOAD, Some(&token), second.clone()).await;
    assert_eq!((status, &asked["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
    let mut confirmed = second.clone();
    confirmed["auth"] = password_login("ann", PASSWORD);
    confirmed["auth"]["session"] = asked["session"].clone();
    assert_eq!(server.post(UPLOAD, Some(&token), confirmed.clone()).await, (200, json!({})));
    // The session is over, and the keys are there: who got no answer may try again.
    assert_eq!(server.post(UPLOAD, Some(&token), confirmed).await, (200, json!({})));
    assert_eq!(server.post(UPLOAD, Some(&token), second).await, (200, json!({})));
    let others = json!({ "master_key": { "user_id": "@bob:example.org", "usage": ["master"], "keys": {} } });
    let (other, _) = server.user("carol").await;
    assert_code(&server.post(UPLOAD, Some(&other), others).await, 400, "M_INVALID_PARAM");
    let alone = json!({ "self_signing_key": {
        "user_id": "@carol:example.org", "usage": ["self_signing"], "keys": { "ed25519:CCCC": "CCCC" },
    }});
    assert_code(&server.post(UPLOAD, Some(&other), alone).await, 400, "M_MISSING_PARAM");
}
