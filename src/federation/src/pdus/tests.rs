//! Events of other servers, of those that mean well and of those that do not.

mod edus;
mod honest;
mod hostile;
mod past;
mod siege;

use std::{collections::BTreeMap, sync::Arc};

use axum::{body::Body, extract::Request, response::Response};
use http::StatusCode;
use parking_lot::Mutex;
use room::{EventDraft, auth::auth_types, build::sign};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedTransactionId, OwnedUserId,
    RoomVersionId, UInt, api::federation::transactions::send_transaction_message::v1 as send,
    events::TimelineEventType,
};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use tower::ServiceExt as _;

use crate::{
    Api, CallError, CallLimits,
    testing::{TestServer, World, WorldOptions},
};

type Script = Arc<dyn Fn(&str) -> Option<Value> + Send + Sync>;

/// Two servers that share a room: `good`, where Ann is, and `evil`, where Mallory is, whose answers a test may write.
struct Pair {
    world: World,
    room: OwnedRoomId,
    ann: OwnedUserId,
    mallory: OwnedUserId,
    script: Arc<Mutex<Option<Script>>>,
    /// What was asked of `evil`: its path, and the bytes of the answer.
    asked: Arc<Mutex<Vec<(String, usize)>>>,
}

fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

impl Pair {
    async fn new() -> Self {
        Self::of(RoomVersionId::V11).await
    }

    async fn of(version: RoomVersionId) -> Self {
        let world = World::with(&["evil", "good", "third"], &WorldOptions { outbox: false, ..WorldOptions::default() });
        let (good, evil) = (Arc::clone(world.server("good")), Arc::clone(world.server("evil")));
        let (ann, mallory) = (good.register("ann").await, evil.register("mallory").await);
        let room = good.create_room(&ann, version.clone()).await;
        let rules = version.rules().unwrap();
        for row in good.rows(&room).await {
            let event = raw(&serde_json::from_str(row.json()).unwrap());
            let event = evil.federation().check_pdu(&event, &rules).await.unwrap();
            if row.event_type() == "m.room.create" {
                evil.engine().receive_create(event).await.unwrap();
            } else {
                let _ = evil.engine().receive(&evil.room(&room).await, event).await.unwrap();
            }
        }
        let (script, asked) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
        let pair = Self { world, room, ann, mallory, script, asked };
        pair.listen();
        let joined = evil.member(&pair.room, &pair.mallory, &pair.mallory, "join").await.unwrap();
        assert_eq!(pair.push("join", &[pair.json(&joined).await]).await[&joined], Ok(()));
        pair.asked.lock().clear();
        pair
    }

    /// Puts the script between the network and what `evil` really is.
    fn listen(&self) {
        let real = http_kit::finish(crate::router().with_state(Api(self.evil().federation())));
        let (script, asked) = (Arc::clone(&self.script), Arc::clone(&self.asked));
        let router = axum::Router::new().fallback(move |request: Request| {
            let (real, script, asked) = (real.clone(), Arc::clone(&script), Arc::clone(&asked));
            async move {
                let path = request.uri().to_string();
                let written = script.lock().clone().and_then(|script| script(&path));
                let response = match written {
                    Some(Value::Null) => {
                        Response::builder().status(StatusCode::NOT_FOUND).body(Body::from("{}")).unwrap()
                    }
                    Some(answer) => Response::new(Body::from(answer.to_string())),
                    None => real.oneshot(request).await.unwrap(),
                };
                let (parts, body) = response.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                asked.lock().push((path, body.len()));
                Response::from_parts(parts, Body::from(body))
            }
        });
        self.world.mesh.answer_by("evil", router);
    }

    fn script(&self, script: impl Fn(&str) -> Option<Value> + Send + Sync + 'static) {
        *self.script.lock() = Some(Arc::new(script));
    }

    fn good(&self) -> &Arc<TestServer> {
        self.world.server("good")
    }

    fn evil(&self) -> &Arc<TestServer> {
        self.world.server("evil")
    }

    /// How often `evil` was asked for something whose path has `part` in it.
    fn asked(&self, part: &str) -> usize {
        self.asked.lock().iter().filter(|(path, _)| path.contains(part)).count()
    }

    /// An event as `evil` has it.
    async fn json(&self, id: &EventId) -> Value {
        let rows = self.evil().rows(&self.room).await;
        serde_json::from_str(rows.iter().find(|row| row.event_id() == id.as_str()).unwrap().json()).unwrap()
    }

    /// Sends a transaction from `evil` to `good`.
    async fn send(&self, txn: &str, pdus: &[Value], edus: &[Value]) -> Result<send::Response, CallError> {
        let mut request = send::Request::new(
            OwnedTransactionId::from(txn),
            OwnedServerName::try_from("evil").unwrap(),
            MilliSecondsSinceUnixEpoch(UInt::from(1_u32)),
        );
        request.pdus = pdus.iter().map(raw).collect();
        request.edus = edus.iter().map(|edu| ruma::serde::Raw::from_json(raw(edu))).collect();
        self.evil().federation().client.send("good".try_into().unwrap(), request, CallLimits::LARGE).await
    }

    async fn push(&self, txn: &str, pdus: &[Value]) -> BTreeMap<OwnedEventId, Result<(), String>> {
        self.send(txn, pdus, &[]).await.unwrap().pdus
    }

    /// Mallory says something that `evil` does not tell.
    async fn whisper(&self, text: &str) -> OwnedEventId {
        self.evil().say(&self.room, &self.mallory, text).await
    }

    /// An event of Mallory's that is signed by `evil` and stands wherever she wants. Its id and its text.
    async fn forge(&self, prev: &[OwnedEventId], auth: Option<&[OwnedEventId]>, text: &str) -> (OwnedEventId, Value) {
        let room = self.good().room(&self.room).await;
        let engine = self.good().engine();
        let content = format!("{{\"body\":\"{text}\"}}");
        let kind = TimelineEventType::from("m.room.message");
        let content_raw = RawValue::from_string(content.clone()).unwrap();
        let mut cited = Vec::new();
        for (kind, key) in auth_types(&kind, &self.mallory, None, &content_raw, &room.rules.authorization).unwrap() {
            let row = engine.current_event(room.num, &kind.to_string(), &key).await.unwrap().unwrap();
            cited.push(OwnedEventId::try_from(row.event_id()).unwrap());
        }
        let draft = EventDraft {
            room_id: Some(&self.room),
            sender: &self.mallory,
            event_type: &kind,
            state_key: None,
            content: &content,
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new_saturating(engine.now())),
            depth: 1 << 50,
            prev_events: prev,
            auth_events: auth.unwrap_or(&cited),
            redacts: None,
            legacy: None,
        };
        let identity = &self.evil().engine().identity;
        let signed = sign(&draft, &room.rules, &identity.server_name, &identity.key).unwrap();
        (signed.pdu.event_id.clone(), serde_json::from_str(&signed.json).unwrap())
    }
}

/// An id of an event that nobody has.
fn nowhere(nth: usize) -> OwnedEventId {
    OwnedEventId::try_from(format!("${nth:043}")).unwrap()
}
