//! The outbox's own tables, beside the engine's rows of what is queued. Bytes 78 to 85 of [`Keyspace::Index`] are the outbox's.

use engine::{EventNum, RoomNum, ServerNum};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Json, Keyspace, Pos, Table};

/// The transaction that a destination has to take before any other.
pub(super) const IN_FLIGHT: Table<ServerNum, Json<InFlight>> = Table::new(Keyspace::Index, 78, "in_flight");
/// Destinations that did not take the last transaction.
pub(super) const HEALTH: Table<ServerNum, Json<Health>> = Table::new(Keyspace::Index, 79, "destination_health");

/// A transaction as it is sent, however often: with these events as they are stored, so that what is redacted meanwhile goes out empty.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InFlight {
    /// Its id.
    pub(super) txn_id: String,
    /// When it was put together, milliseconds since the Unix epoch.
    pub(super) origin_server_ts: u64,
    /// Its events, with where they are queued.
    pub(super) pdus: Vec<(Pos, RoomNum, EventNum)>,
    /// Its EDUs.
    pub(super) edus: Vec<Box<RawValue>>,
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
