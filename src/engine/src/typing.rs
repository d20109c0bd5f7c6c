//! Who types where: a stream in memory, `(boot epoch, n)`. A token of another epoch means "send what is current".

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use parking_lot::RwLock;
use store::Clock;

use crate::tables::{RoomNum, UserNum};

/// Users who type in one room, at most; more is noise.
const MAX_TYPING: usize = 100;

#[derive(Debug, Default)]
struct RoomTyping {
    changed: u64,
    until: HashMap<UserNum, u64>,
}

impl RoomTyping {
    fn expire(&mut self, now: u64, next: &AtomicU64) {
        let before = self.until.len();
        self.until.retain(|_, until| *until > now);
        if self.until.len() != before {
            self.changed = next.fetch_add(1, Ordering::SeqCst) + 1;
        }
    }
}

/// Told in which room somebody began or stopped typing. Called by who sets it: it takes a note and returns.
pub type TypingWatcher = Box<dyn Fn(RoomNum) + Send + Sync>;

/// The typing notifications of all rooms.
pub struct Typing {
    epoch: u64,
    next: AtomicU64,
    rooms: DashMap<RoomNum, RoomTyping>,
    clock: Arc<dyn Clock>,
    watchers: RwLock<Vec<TypingWatcher>>,
}

impl std::fmt::Debug for Typing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Typing").field("epoch", &self.epoch).field("rooms", &self.rooms.len()).finish_non_exhaustive()
    }
}

impl Typing {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            epoch: clock.now_ms(),
            next: AtomicU64::new(0),
            rooms: DashMap::new(),
            clock,
            watchers: RwLock::default(),
        }
    }

    /// Adds who is told of changes. That somebody's time ran out is not told: see [`Typing::next_expiry`].
    pub fn watch(&self, watcher: TypingWatcher) {
        self.watchers.write().push(watcher);
    }

    /// The epoch of this run.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of the newest change.
    pub fn position(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    /// Somebody types for some milliseconds more, or (0) stopped. Says whether that changed who types.
    pub fn set(&self, room: RoomNum, user: UserNum, for_ms: u64) -> bool {
        let now = self.clock.now_ms();
        let mut typing = self.rooms.entry(room).or_default();
        typing.expire(now, &self.next);
        let changed = if for_ms == 0 {
            typing.until.remove(&user).is_some()
        } else if typing.until.len() < MAX_TYPING || typing.until.contains_key(&user) {
            typing.until.insert(user, now.saturating_add(for_ms)).is_none()
        } else {
            false
        };
        if changed {
            typing.changed = self.next.fetch_add(1, Ordering::SeqCst) + 1;
        }
        drop(typing);
        if changed {
            self.watchers.read().iter().for_each(|watcher| watcher(room));
        }
        changed
    }

    /// Who types in a room, where that changed after `since` (`None`: of another epoch, where anybody types).
    pub fn changed(&self, room: RoomNum, since: Option<u64>) -> Option<Vec<UserNum>> {
        let mut typing = self.rooms.get_mut(&room)?;
        typing.expire(self.clock.now_ms(), &self.next);
        let news = match since {
            Some(since) => typing.changed > since,
            None => !typing.until.is_empty(),
        };
        news.then(|| {
            let mut users: Vec<UserNum> = typing.until.keys().copied().collect();
            users.sort_unstable();
            users
        })
    }

    /// Milliseconds until somebody in one of the rooms stops typing.
    pub fn next_expiry(&self, rooms: impl IntoIterator<Item = RoomNum>) -> Option<u64> {
        if self.rooms.is_empty() {
            return None;
        }
        let now = self.clock.now_ms();
        let first = rooms
            .into_iter()
            .filter_map(|room| self.rooms.get(&room)?.until.values().filter(|until| **until > now).min().copied())
            .min()?;
        Some(first.saturating_sub(now).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::ManualClock;

    #[test]
    fn typing_starts_stops_and_runs_out() {
        let clock = Arc::new(ManualClock::new(1000));
        let typing = Typing::new(Arc::clone(&clock) as Arc<dyn Clock>);
        assert_eq!(typing.changed(1, Some(0)), None);
        assert!(typing.set(1, 7, 500));
        assert!(!typing.set(1, 7, 600));
        let at = typing.position();
        assert_eq!(typing.changed(1, Some(0)), Some(vec![7]));
        assert_eq!(typing.changed(1, None), Some(vec![7]));
        assert_eq!(typing.changed(1, Some(at)), None);
        assert_eq!(typing.next_expiry([1, 2]), Some(600));
        clock.set(1600);
        assert_eq!(typing.changed(1, Some(at)), Some(vec![]));
        assert_eq!(typing.changed(1, None), None);
    }
}
