//! A real server with others that answer as a test says.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::Path, routing::put};
use bytes::Bytes;
use engine::OUTBOX;
use http::StatusCode;
use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId, UserId};
use serde_json::{Value, json};

use crate::testing::{TestServer, World};

/// How a peer answers its nth transaction, counted from 0.
pub(super) type Script = Box<dyn Fn(usize) -> (StatusCode, Value) + Send + Sync>;

/// A server that keeps what it is sent.
#[derive(Default)]
pub(super) struct Peer {
    seen: Mutex<Vec<(String, Bytes)>>,
    script: Mutex<Option<Script>>,
    /// How long it takes to answer.
    pub(super) slow: Mutex<Duration>,
    busy: AtomicUsize,
    /// Transactions that it had at one time, at most.
    pub(super) busiest: AtomicUsize,
}

impl Peer {
    pub(super) fn answers(&self, script: impl Fn(usize) -> (StatusCode, Value) + Send + Sync + 'static) {
        *self.script.lock() = Some(Box::new(script));
    }

    pub(super) fn takes_all(&self) {
        *self.script.lock() = None;
    }

    pub(super) fn fails(&self) {
        self.answers(|_| (StatusCode::INTERNAL_SERVER_ERROR, json!({})));
    }

    async fn transaction(&self, id: String, body: Bytes) -> (StatusCode, Json<Value>) {
        let nth = self.seen.lock().len();
        self.seen.lock().push((id, body));
        self.busiest.fetch_max(self.busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let slow = *self.slow.lock();
        tokio::time::sleep(slow).await;
        self.busy.fetch_sub(1, Ordering::SeqCst);
        let (status, answer) = self.script.lock().as_ref().map_or((StatusCode::OK, json!({"pdus": {}})), |s| s(nth));
        (status, Json(answer))
    }

    /// Every attempt: id and body.
    pub(super) fn attempts(&self) -> Vec<(String, Bytes)> {
        self.seen.lock().clone()
    }

    /// The bodies of transactions, each once.
    pub(super) fn bodies(&self) -> Vec<Value> {
        let mut ids = BTreeSet::new();
        let seen = self.attempts().into_iter().filter(|(id, _)| ids.insert(id.clone()));
        seen.map(|(_, body)| serde_json::from_slice(&body).unwrap()).collect()
    }

    fn all(&self, field: &str) -> Vec<Value> {
        self.bodies().iter().flat_map(|body| body[field].as_array().unwrap().clone()).collect()
    }

    pub(super) fn pdus(&self) -> Vec<Value> {
        self.all("pdus")
    }

    pub(super) fn edus(&self) -> Vec<Value> {
        self.all("edus")
    }

    /// The texts of the messages that it was sent.
    pub(super) fn texts(&self) -> Vec<String> {
        self.pdus().iter().filter_map(|pdu| Some(pdu["content"]["body"].as_str()?.to_owned())).collect()
    }
}

/// The server `one` with Ann on it, and `peers` that answer as told.
pub(super) struct Bench {
    pub(super) world: World,
    pub(super) ann: OwnedUserId,
    pub(super) peer: Arc<Peer>,
}

impl Bench {
    /// With one peer, called `far`.
    pub(super) async fn new() -> Self {
        let world = World::new(&["one"]);
        let ann = world.server("one").register("ann").await;
        let bench = Self { world, ann, peer: Arc::default() };
        bench.peer_is("far");
        bench
    }

    /// The same peer answers under this name.
    pub(super) fn peer_is(&self, name: &str) {
        let peer = Arc::clone(&self.peer);
        let handler = move |Path(id): Path<String>, body: Bytes| async move { peer.transaction(id, body).await };
        let router = Router::new().route("/_matrix/federation/v1/send/{id}", put(handler));
        self.world.mesh.answer_by(name, router);
    }

    pub(super) fn one(&self) -> &Arc<TestServer> {
        self.world.server("one")
    }

    /// A room of Ann's with somebody of another server; what that queued is sent.
    pub(super) async fn room_with(&self, other: &str) -> OwnedRoomId {
        let room = self.one().create_room(&self.ann, RoomVersionId::V11).await;
        self.join(&room, other).await;
        self.quiet().await;
        room
    }

    pub(super) async fn join(&self, room: &OwnedRoomId, other: &str) {
        let other = <&UserId>::try_from(other).unwrap();
        self.one().member(room, other, other, "join").await.unwrap();
    }

    pub(super) async fn say(&self, room: &OwnedRoomId, text: &str) {
        self.one().say(room, &self.ann, text).await;
    }

    pub(super) async fn say_many(&self, room: &OwnedRoomId, texts: impl IntoIterator<Item = usize>) {
        for text in texts {
            self.say(room, &text.to_string()).await;
        }
    }

    /// Until nothing is under way but what waits for those who are down.
    pub(super) async fn quiet(&self) {
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let stats = self.one().federation().outbox.stats();
            if stats.ready == 0 && stats.sending == 0 {
                return;
            }
        }
        panic!("the outbox does not come to rest: {:?}", self.one().federation().outbox.stats());
    }

    /// Until nothing is waited for either.
    pub(super) async fn empty(&self) {
        for _ in 0..100_000 {
            self.quiet().await;
            if self.one().federation().outbox.stats().backing_off == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("some are never reached");
    }

    /// Rows that are queued, for all destinations.
    pub(super) async fn queued(&self) -> usize {
        self.one().engine().db.scan_all(&OUTBOX, &()).await.unwrap().len()
    }
}
