//! The number of unread messages of a user across all rooms, kept so that only rooms in which something happened are counted again.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use store::Pos;
use users::UserNum;

use crate::{NotifyError, Result, RoomNum, Rooms, Source};

/// Users whose numbers are kept; others are counted anew.
const USERS_KEPT: usize = 20_000;

/// Unread messages by room, where there are any.
type ByRoom = Arc<Mutex<HashMap<RoomNum, u64>>>;

#[derive(Debug)]
pub(crate) struct Badges {
    users: Cache<UserNum, ByRoom>,
}

impl Default for Badges {
    fn default() -> Self {
        Self { users: Cache::new(USERS_KEPT) }
    }
}

impl Badges {
    /// A user's unread messages, where something happened in these rooms since it was asked last.
    pub(crate) async fn total(&self, source: &dyn Source, user: UserNum, rooms: &Rooms, to: Pos) -> Result<u64> {
        let kept = self.users.get(&user);
        let rooms = if kept.is_some() { rooms } else { &Rooms::All };
        let counted = source.unread(user, rooms, to).await.map_err(NotifyError::Source)?;
        let by_room = kept.unwrap_or_else(|| {
            let fresh = ByRoom::default();
            self.users.insert(user, Arc::clone(&fresh));
            fresh
        });
        let mut by_room = by_room.lock();
        match rooms {
            Rooms::All => by_room.clear(),
            Rooms::These(rooms) => by_room.retain(|room, _| !rooms.contains(room)),
        }
        by_room.extend(counted.into_iter().filter(|(_, unread)| *unread > 0));
        Ok(by_room.values().sum())
    }
}
