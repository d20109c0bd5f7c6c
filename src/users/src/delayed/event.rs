//! A delayed event, and its rows.

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Json, Op, Pos};

use crate::tables::{DELAYED, DELAYED_DUE, DELAYED_OF, DELAYED_TXNS, UserNum};

/// Where a delayed event stands in [`DELAYED_OF`].
pub(super) const SCHEDULED: u8 = 0;
pub(super) const FINALISED: u8 = 1;

/// An event that is to be sent later, or that was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delayed {
    /// The position in the stream at which it was asked for: of those that are due at the same time, what was asked for first is sent first.
    pub seq: Pos,
    /// Who sends it.
    pub user: UserNum,
    /// The sender's id.
    pub user_id: OwnedUserId,
    /// Where.
    pub room_id: OwnedRoomId,
    /// Its type.
    pub event_type: String,
    /// Its state key, for a state event.
    pub state_key: Option<String>,
    /// Its content, a JSON object.
    pub content: Box<RawValue>,
    /// How long it waits, in milliseconds.
    pub delay_ms: u64,
    /// Since when, in Unix milliseconds.
    pub since_ts: u64,
    /// When there is something to do about it: to send it or, once it is finalised, to forget it. Unix milliseconds.
    pub due_ts: u64,
    /// The time that it is to claim, where an application service says so.
    pub origin_server_ts: Option<u64>,
    /// The application service that asked for it.
    pub service: Option<DelayedService>,
    /// The request that asked for it, where it had a transaction id.
    pub txn: Option<DelayedTxn>,
    /// What became of it.
    pub finalised: Option<Finalised>,
}

/// The application service behind a delayed event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DelayedService {
    /// Its id in its registration file.
    pub id: String,
    /// Whether the rate limits hold for it.
    pub rate_limited: bool,
}

/// A request with a transaction id: the same again gives the same delayed event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayedTxn {
    /// The device, or an application service's id.
    pub scope: String,
    /// The path, transaction id included.
    pub path: String,
}

/// What became of a delayed event. Without an event and without an error it was cancelled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finalised {
    /// When, in Unix milliseconds.
    pub ts: u64,
    /// The event that was sent.
    pub event_id: Option<OwnedEventId>,
    /// Why none could be: a standard error response.
    pub error: Option<serde_json::Value>,
}

impl Finalised {
    /// Whether it was sent.
    pub fn sent(&self) -> bool {
        self.event_id.is_some()
    }
}

/// What becomes of a delayed event.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is this event.
    Sent(OwnedEventId),
    /// Somebody cancelled it.
    Cancelled,
    /// It could not be sent: a standard error response.
    Failed(serde_json::Value),
}

/// An event to be kept until its time comes.
#[derive(Debug, Clone)]
pub struct NewDelayed {
    /// See [`Delayed::user`].
    pub user: UserNum,
    /// See [`Delayed::user_id`].
    pub user_id: OwnedUserId,
    /// See [`Delayed::room_id`].
    pub room_id: OwnedRoomId,
    /// See [`Delayed::event_type`].
    pub event_type: String,
    /// See [`Delayed::state_key`].
    pub state_key: Option<String>,
    /// See [`Delayed::content`].
    pub content: Box<RawValue>,
    /// See [`Delayed::delay_ms`].
    pub delay_ms: u64,
    /// See [`Delayed::origin_server_ts`].
    pub origin_server_ts: Option<u64>,
    /// See [`Delayed::service`].
    pub service: Option<DelayedService>,
    /// See [`Delayed::txn`].
    pub txn: Option<DelayedTxn>,
}

impl Delayed {
    pub(super) fn new(new: NewDelayed, seq: Pos, now: u64) -> Self {
        let NewDelayed { user, user_id, room_id, event_type, state_key, content, delay_ms, .. } = new;
        let NewDelayed { origin_server_ts, service, txn, .. } = new;
        let (since_ts, due_ts, finalised) = (now, now.saturating_add(delay_ms), None);
        Self {
            seq,
            user,
            user_id,
            room_id,
            event_type,
            state_key,
            content,
            delay_ms,
            since_ts,
            due_ts,
            origin_server_ts,
            service,
            txn,
            finalised,
        }
    }

    fn of_key(&self, id: &str) -> (UserNum, u8, u64, Pos, String) {
        let state = if self.finalised.is_some() { FINALISED } else { SCHEDULED };
        (self.user, state, self.due_ts, self.seq, id.to_owned())
    }

    fn due_key(&self, id: &str) -> (u64, Pos, UserNum, String) {
        (self.due_ts, self.seq, self.user, id.to_owned())
    }

    pub(super) fn put(&self, id: &str) -> [Op; 3] {
        [
            DELAYED.put(&id.to_owned(), &Json(self.clone())),
            DELAYED_OF.put(&self.of_key(id), &()),
            DELAYED_DUE.put(&self.due_key(id), &()),
        ]
    }

    fn unlist(&self, id: &str) -> [Op; 2] {
        [DELAYED_OF.delete(&self.of_key(id)), DELAYED_DUE.delete(&self.due_key(id))]
    }

    pub(super) fn delete(&self, id: &str) -> Vec<Op> {
        let mut ops = vec![DELAYED.delete(&id.to_owned())];
        ops.extend(self.unlist(id));
        ops.extend(self.txn.as_ref().map(|txn| DELAYED_TXNS.delete(&txn_key(self.user, txn))));
        ops
    }

    /// What takes the place of `self` under the same id.
    pub(super) fn replaced(&self, id: &str, by: &Self) -> Vec<Op> {
        self.unlist(id).into_iter().chain(by.put(id)).collect()
    }
}

pub(super) fn txn_key(user: UserNum, txn: &DelayedTxn) -> (UserNum, String, String) {
    (user, txn.scope.clone(), txn.path.clone())
}
