//! Checkpoints of unread counts.
//!
//! Counts are derived from events and push rules; a checkpoint says how far that has come, so that only events behind it
//! are looked at after a restart. Losing the newest checkpoints costs time, not truth.

use std::{collections::BTreeMap, sync::Arc};

use ruma::OwnedEventId;
use serde::{Deserialize, Serialize};
use store::{Json, Pos};

use crate::{
    core::Core,
    error::Result,
    tables::{RoomNum, UNREAD, UserNum},
};

/// Unread events, as a sync response counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadCounts {
    /// Events that notify.
    #[serde(rename = "n", default)]
    pub notifications: u64,
    /// Events that highlight.
    #[serde(rename = "h", default)]
    pub highlights: u64,
}

/// What is unread for one user in one room, and how far that was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Position of the last event that was looked at.
    #[serde(rename = "e")]
    pub evaluated: Pos,
    /// Position of the event that the user has read up to: counting began behind it.
    #[serde(rename = "r", default)]
    pub read: Pos,
    /// Position in the stream up to which receipts are taken into account.
    #[serde(rename = "s", default)]
    pub receipts: Pos,
    /// The whole room, or its main timeline where threads are counted apart.
    #[serde(flatten)]
    pub main: UnreadCounts,
    /// Threads with anything unread, by their root.
    #[serde(rename = "t", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub threads: BTreeMap<OwnedEventId, UnreadCounts>,
}

/// The checkpoints.
#[derive(Debug, Clone)]
pub struct Unread {
    core: Arc<Core>,
}

impl Unread {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The last checkpoint of a room.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn load(&self, user: UserNum, room: RoomNum) -> Result<Option<Counts>> {
        Ok(self.core.db.get(&UNREAD, &(user, room)).await?.map(|Json(counts)| counts))
    }

    /// The last checkpoints of several rooms, in their order, in one read.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn load_many(&self, user: UserNum, rooms: &[RoomNum]) -> Result<Vec<Option<Counts>>> {
        let keys: Vec<_> = rooms.iter().map(|room| (user, *room)).collect();
        let rows = self.core.db.multi_get(&UNREAD, &keys).await?;
        Ok(rows.into_iter().map(|row| row.map(|Json(counts)| counts)).collect())
    }

    /// Queues a checkpoint; nobody waits until it is durable.
    pub fn store(&self, user: UserNum, room: RoomNum, counts: Counts) {
        let mut write = self.core.db.write();
        write.put(&UNREAD, &(user, room), &Json(counts));
        drop(write.enqueue());
    }

    /// Queues the removal of a checkpoint, as when a room was left.
    pub fn remove(&self, user: UserNum, room: RoomNum) {
        let mut write = self.core.db.write();
        write.delete(&UNREAD, &(user, room));
        drop(write.enqueue());
    }
}

#[cfg(test)]
mod tests;
