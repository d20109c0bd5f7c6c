//! All tables of this crate: bytes 152 to 159 of [`Keyspace::Index`].

use engine::RoomNum;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Json, Keyspace, Pos, Table};

/// How far in the feed a service has been told everything, by its id.
pub(crate) const CURSORS: Table<String, Pos> = Table::new(Keyspace::Index, 152, "service_cursors");
/// The transaction that a service has to take before any other.
pub(crate) const IN_FLIGHT: Table<String, Json<InFlight>> = Table::new(Keyspace::Index, 153, "service_in_flight");
/// Rooms in the directories of services: (service, network, room).
pub(crate) const PUBLISHED: Table<(String, String, RoomNum), ()> =
    Table::new(Keyspace::Index, 154, "service_directories");

/// A transaction as it is sent, however often.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InFlight {
    /// Its id.
    pub(crate) txn_id: String,
    /// The very text of its body.
    pub(crate) body: Box<RawValue>,
    /// The place in the feed up to which it tells everything.
    pub(crate) upto: Pos,
    /// Events in it.
    pub(crate) events: usize,
}
