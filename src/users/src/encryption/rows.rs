//! What stands in the rows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use store::Pos;

use super::Object;
use crate::tables::{RoomNum, UserNum};

/// A fallback key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FallbackRow {
    /// Its id, behind the algorithm.
    pub(crate) key_id: String,
    pub(crate) key: Value,
    /// It was given to somebody.
    pub(crate) used: bool,
}

/// How many one-time keys a device has left, and which of its fallback keys were not used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCounts {
    /// Where that changed last.
    pub pos: Pos,
    /// One-time keys by algorithm.
    pub counts: BTreeMap<String, u64>,
    /// Algorithms with a fallback key that was not used.
    pub unused_fallback: BTreeSet<String>,
}

/// A version of a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupRow {
    pub(crate) algorithm: String,
    pub(crate) auth_data: Box<RawValue>,
    /// Counts the changes of its keys.
    pub(crate) etag: u64,
    /// Keys in it.
    pub(crate) count: u64,
    #[serde(default)]
    pub(crate) deleted: bool,
}

/// Where a user's list of devices stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRow {
    /// Its newest change.
    pub(crate) pos: Pos,
    /// The newest one that was about a device: what other servers know as the stream id.
    pub(crate) stream: Pos,
}

/// Whose list changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEntry {
    pub(crate) user: UserNum,
    /// The only user who sees the change; none where all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) viewer: Option<UserNum>,
}

/// What is known of a remote user's list of devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteListRow {
    /// The stream id up to which the rows of devices are right.
    pub(crate) stream_id: u64,
    /// The newest one that was heard of.
    pub(crate) seen: u64,
    /// The position at which the list was asked for.
    pub(crate) fetched: Pos,
    /// The rows of devices are right, as far as was heard.
    pub(crate) fresh: bool,
    /// Somebody was given the list since those who see it were last told that it changed.
    pub(crate) asked: bool,
}

/// A device of a remote user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoteDevice {
    /// The name that people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Its identity keys, where it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Object>,
}

/// A change of a local user's list of which other servers have to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListUpdate {
    /// A device is new, different or gone: for the servers of all rooms of the user.
    Device {
        /// Whose.
        user: UserNum,
        /// The device's id.
        device: String,
        /// The stream id of the change.
        stream: Pos,
        /// That of the change before it.
        prev: Pos,
    },
    /// The user's cross-signing keys, or signatures on them, changed.
    Signing {
        /// Whose.
        user: UserNum,
    },
    /// The user entered a room: for the servers of that room.
    Announce {
        /// Whose.
        user: UserNum,
        /// The room.
        room: RoomNum,
    },
}

/// Something on its way to one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OutgoingEdu {
    /// The content of an `m.direct_to_device`.
    ToDevice(Box<RawValue>),
    /// An `m.device_list_update`, made of what the device is when it is sent.
    Device {
        /// Whose.
        user: UserNum,
        /// The device's id.
        device: String,
        /// The stream id of the change.
        stream: Pos,
        /// That of the change before it; none where the list is told of without a change.
        prev: Option<Pos>,
    },
    /// An `m.signing_key_update`, made of what the keys are when it is sent.
    Signing {
        /// Whose.
        user: UserNum,
    },
}
