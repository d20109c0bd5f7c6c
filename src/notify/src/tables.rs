//! All tables of this crate: bytes 144 to 151 of the keyspace Index.

use serde::{Deserialize, Serialize};
use store::{Json, Keyspace, Pos, Table};
use users::UserNum;

use crate::pushers::PusherRow;

/// The number of a pusher: the stream position at which it was made, so that no number comes twice.
pub(crate) type PusherNum = u64;

pub(crate) const PUSHERS: Table<(UserNum, PusherNum), Json<PusherRow>> = Table::new(Keyspace::Index, 144, "pushers");
/// (`app_id`, `pushkey`, user) → the pusher.
pub(crate) const PUSHER_KEYS: Table<(String, String, UserNum), PusherNum> =
    Table::new(Keyspace::Index, 145, "pusher_keys");
/// Written by whoever sends, while [`PUSHERS`] is written by whoever sets.
pub(crate) const PROGRESS: Table<(UserNum, PusherNum), Json<Progress>> =
    Table::new(Keyspace::Index, 146, "pusher_progress");
/// The position up to which everything was looked at for all pushers whose gateways answer, whatever their own rows say.
pub(crate) const LOOKED_UP_TO: Table<(), Pos> = Table::new(Keyspace::Index, 147, "pushers_looked_up_to");

/// How far a pusher has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// What lies behind this position is still to be looked at.
    pub(crate) pos: Pos,
    /// The number of unread messages that the gateway was last told.
    #[serde(default)]
    pub(crate) badge: u64,
    /// Failures in a row.
    #[serde(default)]
    pub(crate) failures: u32,
    /// Since when something waits that could not be sent, in Unix milliseconds; 0 where nothing does.
    #[serde(default)]
    pub(crate) since: u64,
    /// When to try again, in Unix milliseconds.
    #[serde(default)]
    pub(crate) retry_at: u64,
}
