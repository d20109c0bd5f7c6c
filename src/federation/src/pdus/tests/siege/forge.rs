//! Events of Mallory's, signed by her server, whatever stands in them.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use room::{
    EventDraft,
    auth::auth_types,
    build::{LegacyIds, sign},
};
use ruma::{EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, UInt, UserId, events::TimelineEventType};
use serde_json::{Value, json, value::to_raw_value};

use super::super::{Pair, nowhere};

/// An event to be made: what is not said is as an honest server would have it.
pub(super) struct Forgery<'a> {
    pub(super) kind: &'a str,
    pub(super) state_key: Option<&'a str>,
    pub(super) content: Value,
    /// What it follows; where the room ends if nothing is said.
    pub(super) prev: Option<Vec<OwnedEventId>>,
    /// What it cites; what honest servers would cite now if nothing is said.
    pub(super) auth: Option<Vec<OwnedEventId>>,
    pub(super) depth: u64,
    /// Its id, where the room's version lets its sender choose.
    pub(super) id: Option<&'a str>,
}

impl Default for Forgery<'_> {
    fn default() -> Self {
        Self {
            kind: "m.room.message",
            state_key: None,
            content: json!({"body": "x"}),
            prev: None,
            auth: None,
            depth: 100,
            id: None,
        }
    }
}

impl Pair {
    /// Its id and its text.
    pub(super) async fn make(&self, forgery: Forgery<'_>) -> (OwnedEventId, Value) {
        let room = self.good().room(&self.room).await;
        let kind = TimelineEventType::from(forgery.kind);
        let content = to_raw_value(&forgery.content).unwrap();
        let prev = match forgery.prev {
            Some(prev) => prev,
            None => self.ends().await,
        };
        let auth = match forgery.auth {
            Some(auth) => auth,
            None => {
                let rules = &room.rules.authorization;
                let wanted = auth_types(&kind, &self.mallory, forgery.state_key, &content, rules).unwrap();
                let mut auth = Vec::new();
                for (kind, key) in wanted {
                    auth.extend(self.entry(&kind.to_string(), &key).await);
                }
                auth
            }
        };
        // Nobody looks at the hashes of the first versions' references.
        let hashes: HashMap<OwnedEventId, String> =
            prev.iter().chain(&auth).map(|id| (id.clone(), "x".into())).collect();
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let made_up = format!("$made{}:evil", NEXT.fetch_add(1, Ordering::Relaxed));
        let id = EventId::parse(forgery.id.unwrap_or(&made_up)).unwrap();
        let sender: &UserId = &self.mallory;
        let draft = EventDraft {
            room_id: Some(&self.room),
            sender,
            event_type: &kind,
            state_key: forgery.state_key,
            content: content.get(),
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.good().engine().now())),
            depth: forgery.depth,
            prev_events: &prev,
            auth_events: &auth,
            redacts: None,
            legacy: Some(LegacyIds { event_id: &id, hashes: &hashes }),
        };
        let identity = &self.evil().engine().identity;
        let signed = sign(&draft, &room.rules, &identity.server_name, &identity.key).unwrap();
        (signed.pdu.event_id.clone(), serde_json::from_str(&signed.json).unwrap())
    }

    /// A message behind these, without more.
    pub(super) async fn behind(&self, prev: &[OwnedEventId], text: &str) -> (OwnedEventId, Value) {
        self.make(Forgery { content: json!({"body": text}), prev: Some(prev.to_vec()), ..Forgery::default() }).await
    }

    /// Where the room ends.
    pub(super) async fn ends(&self) -> Vec<OwnedEventId> {
        let ends = self.good().extremities(&self.room).await;
        ends.into_iter().map(|id| OwnedEventId::try_from(id).unwrap()).collect()
    }

    /// An entry of the room's state.
    pub(super) async fn entry(&self, kind: &str, key: &str) -> Option<OwnedEventId> {
        let engine = self.good().engine();
        let room = self.good().room(&self.room).await;
        let row = engine.current_event(room.num, kind, key).await.unwrap()?;
        Some(OwnedEventId::try_from(row.event_id()).unwrap())
    }

    /// All of the room's state.
    pub(super) async fn state_ids(&self) -> Vec<String> {
        self.good().state(&self.room).await.into_values().collect()
    }

    /// Whether the event is here, in whatever standing.
    pub(super) async fn has(&self, id: &EventId) -> bool {
        self.good().engine().find_event_anywhere(id.as_str()).await.unwrap().is_some()
    }

    /// Pushes events in transactions that are as large as they may be. What became of them.
    pub(super) async fn push_all(&self, txn: &str, events: &[Value]) -> Vec<Result<(), String>> {
        let mut results = Vec::new();
        for (nth, events) in events.chunks(50).enumerate() {
            results.extend(self.push(&format!("{txn}{nth}"), events).await.into_values());
        }
        results
    }
}

/// An event behind one that nobody has, for which the state is asked for, one behind that, which is shown when the gap is asked about,
/// and one that is pushed.
pub(super) struct Gap {
    pub(super) edge: OwnedEventId,
    pub(super) edge_json: Value,
    pub(super) middle_json: Value,
    pub(super) top: OwnedEventId,
    pub(super) top_json: Value,
}

impl Gap {
    pub(super) async fn new(pair: &Pair, nth: usize) -> Self {
        let (edge, edge_json) = pair.behind(&[nowhere(nth)], "edge").await;
        let (middle, middle_json) = pair.behind(std::slice::from_ref(&edge), "middle").await;
        let (top, top_json) = pair.behind(&[middle], "top").await;
        Self { edge, edge_json, middle_json, top, top_json }
    }

    /// The answers that lead to the question for the state; `answer` has the rest.
    pub(super) fn script(&self, pair: &Pair, answer: impl Fn(&str) -> Option<Value> + Send + Sync + 'static) {
        let (edge, middle) = (self.edge_json.clone(), self.middle_json.clone());
        let id = self.edge.as_str().trim_start_matches('$').to_owned();
        pair.script(move |path| match answer(path) {
            Some(answer) => Some(answer),
            None if path.contains("get_missing_events") => Some(json!({"events": [middle]})),
            None if path.contains("/event/") && path.contains(&id) => Some(one_event(&edge)),
            None if path.contains("/_matrix/key") => None,
            None => Some(Value::Null),
        });
    }
}

/// The answer of `GET /event`.
pub(super) fn one_event(event: &Value) -> Value {
    json!({"origin": "evil", "origin_server_ts": 1, "pdus": [event]})
}

/// The id at the end of a path.
pub(super) fn last_part(path: &str) -> String {
    let last = path.split('?').next().unwrap().rsplit('/').next().unwrap();
    percent_decoded(last)
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}
