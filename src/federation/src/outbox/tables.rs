//! The outbox's own tables, beside the engine's rows of what is queued. Bytes 78 to 85 of [`Keyspace::Index`] are the outbox's.

use engine::ServerNum;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Json, Keyspace, Pos, Table};

/// The transaction that a destination has to take before any other. (Byte 78 was that of rows without the body.)
pub(super) const IN_FLIGHT: Table<ServerNum, Json<InFlight>> = Table::new(Keyspace::Index, 81, "in_flight");
/// Destinations that did not take the last transaction.
pub(super) const HEALTH: Table<ServerNum, Json<Health>> = Table::new(Keyspace::Index, 79, "destination_health");

/// A transaction as it is sent, however often.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InFlight {
    /// Its id.
    pub(super) txn_id: String,
    /// The very text of its body: what happens to its events meanwhile changes nothing.
    pub(super) body: Box<RawValue>,
    /// Where its events are queued.
    pub(super) pdus: Vec<Pos>,
    /// Where its receipts are queued, and those that it passes over.
    pub(super) receipts: Vec<Pos>,
    /// Where its EDUs about devices are queued, and those that it passes over.
    #[serde(default)]
    pub(super) devices: Vec<Pos>,
    /// EDUs in it.
    pub(super) edus: usize,
}

/// How long a destination has not been taking anything. Times are in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Health {
    /// Attempts that failed, one after the other.
    pub(super) failures: u32,
    /// When the first of them did.
    pub(super) since: u64,
    /// Not tried again before, unless it is heard from.
    pub(super) retry_at: u64,
}
