//! A policy server at another server: asked by wire, about what is sent and about invitations.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    response::{IntoResponse as _, Response},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::StatusCode;
use http_kit::MatrixError;
use parking_lot::Mutex;
use room::{SigningKey, cosign::cosign, policy::KEY_ID};
use ruma::{OwnedRoomId, RoomVersionId};
use serde_json::{Value, json};

use super::{invite, join, membership, with_room};
use crate::{
    Api,
    testing::{TestServer, World},
};

const VERSION: RoomVersionId = RoomVersionId::V11;

type Asked = Arc<Mutex<Vec<Value>>>;

fn key() -> SigningKey {
    SigningKey::from_seed(&[9; 32], "policy_server").unwrap()
}

/// `two` with a policy server beside its own endpoints. It signs what is no spam.
fn with_policy_server(two: &TestServer, asked: &Asked) -> Router {
    let asked = Arc::clone(asked);
    let sign = move |body: Bytes| {
        let asked = Arc::clone(&asked);
        async move { answer(&asked, &body) }
    };
    Router::new().route("/_matrix/policy/v1/sign", post(sign)).merge(crate::router().with_state(Api(two.federation())))
}

fn answer(asked: &Asked, body: &[u8]) -> Response {
    let event: Value = serde_json::from_slice(body).unwrap();
    asked.lock().push(event.clone());
    if event["content"]["body"] == "spam" {
        let refusal = json!({"errcode": "M_FORBIDDEN", "error": "This is spam"});
        return (StatusCode::BAD_REQUEST, refusal.to_string()).into_response();
    }
    let signed = cosign(&event.to_string(), &VERSION.rules().unwrap(), "two".try_into().unwrap(), &key()).unwrap();
    let signed: Value = serde_json::from_str(&signed).unwrap();
    json!({"two": {KEY_ID: signed["signatures"]["two"][KEY_ID]}}).to_string().into_response()
}

async fn world() -> (World, OwnedRoomId, Asked) {
    let (world, room) = with_room(VERSION).await;
    let (one, two) = (world.server("one"), world.server("two"));
    let (ann, ben, asked) = (one.user_id("ann"), two.user_id("ben"), Asked::default());
    world.mesh.answer_by("two", with_policy_server(two, &asked));
    join(two, &ben, &room, &["one"]).await.unwrap();
    let policy = json!({"via": "two", "public_keys": {"ed25519": STANDARD_NO_PAD.encode(key().public_key())}});
    one.set(&room, &ann, "m.room.policy", "", policy).await.unwrap();
    assert!(asked.lock().is_empty());
    (world, room, asked)
}

#[tokio::test]
async fn it_is_asked_and_its_refusal_is_passed_on() {
    let (world, room, asked) = world().await;
    let one = world.server("one");
    let ann = one.user_id("ann");
    one.set(&room, &ann, "m.room.topic", "", json!({"topic": "t"})).await.unwrap();
    let seen = asked.lock().pop().unwrap();
    assert_eq!((&seen["type"], &seen["signatures"]["one"].is_object()), (&json!("m.room.topic"), &true));
    let refused = one.set(&room, &ann, "m.room.topic", "", json!({"body": "spam"})).await.unwrap_err();
    let engine::EngineError::Policy(refusal) = refused else { panic!("{refused}") };
    assert_eq!((refusal.status, &*refusal.errcode, &*refusal.error), (400, "M_FORBIDDEN", "This is spam"));
    assert_eq!(one.content(&room, "m.room.topic", "").await, json!({"topic": "t"}));
    // Where it cannot be reached nothing is sent, but that it is not to be asked any more.
    world.cut("one", "two");
    let unheard = one.set(&room, &ann, "m.room.topic", "", json!({"topic": "u"})).await.unwrap_err();
    assert!(matches!(unheard, engine::EngineError::Policy(refusal) if refusal.status == 502));
    one.set(&room, &ann, "m.room.policy", "", json!({})).await.unwrap();
    one.set(&room, &ann, "m.room.topic", "", json!({"topic": "u"})).await.unwrap();
}

#[tokio::test]
async fn it_is_asked_about_invitations_of_users_elsewhere() {
    let (world, room, asked) = world().await;
    let (one, two) = (world.server("one"), world.server("two"));
    let (ann, cleo) = (one.user_id("ann"), two.register("cleo").await);
    invite(one, &ann, &room, &cleo).await.unwrap();
    assert_eq!(membership(two, &cleo, &room).await, Some(engine::Membership::Invite));
    assert_eq!(one.content(&room, "m.room.member", cleo.as_str()).await["membership"], "invite");
    let seen = std::mem::take(&mut *asked.lock());
    assert!(seen.iter().any(|event| event["state_key"] == cleo.as_str()), "{seen:?}");
    // A refusal reaches who invites.
    let refused = world.server("one").federation();
    let spam = crate::remote::RemoteInvitee {
        room: one.room(&room).await,
        sender: ann.clone(),
        invited: two.register("dora").await,
        content: json!({"membership": "invite", "body": "spam"}).to_string(),
        device: None,
    };
    let error = MatrixError::from(refused.invite(spam).await.unwrap_err());
    assert_eq!((error.status.as_u16(), &*error.errcode, &*error.error), (400, "M_FORBIDDEN", "This is spam"));
}
