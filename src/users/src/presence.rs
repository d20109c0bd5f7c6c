//! Presence: who is online. In memory only; its stream is named by the run it belongs to.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use ruma::presence::PresenceState;
use store::Clock;

use crate::{
    error::{Result, UsersError},
    tables::UserNum,
};

/// A status message's length in bytes, at most.
const MAX_STATUS: usize = 1024;
/// After so many milliseconds without a word from their server users of others are offline.
const REMOTE_SILENCE: u64 = 1_800_000;

/// How presence is kept. Times are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct PresenceOptions {
    /// For so long after being active a user is "currently active".
    pub active_ms: u64,
    /// An online user who is not active for so long becomes `unavailable`.
    pub idle_ms: u64,
    /// A user whose clients are silent for so long becomes `offline`.
    pub offline_ms: u64,
    /// Users kept, at most; those who changed longest ago are forgotten first.
    pub max_users: usize,
}

impl Default for PresenceOptions {
    fn default() -> Self {
        Self { active_ms: 60_000, idle_ms: 300_000, offline_ms: 60_000, max_users: 100_000 }
    }
}

/// A place in the presence stream. One of another run means that nothing of this run is known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PresencePos {
    /// Which run of the server.
    pub epoch: u64,
    /// Changes since its start.
    pub n: u64,
}

/// What others see of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPresence {
    /// Online, unavailable or offline.
    pub state: PresenceState,
    /// What the user says.
    pub status_msg: Option<String>,
    /// Milliseconds since the user last did something.
    pub last_active_ago: u64,
    /// Whether that was just now.
    pub currently_active: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Its place in the stream.
    n: u64,
    state: PresenceState,
    status_msg: Option<Arc<str>>,
    /// When the user last did something, in Unix milliseconds.
    active_ts: u64,
    /// When any of the user's clients was last heard of.
    heard_ts: u64,
    /// What others were told of `currently_active`.
    shown_active: bool,
    /// Whether another server says so: then it alone says what time makes of it.
    remote: bool,
}

#[derive(Debug, Default)]
struct Stream {
    n: u64,
    users: HashMap<UserNum, Entry>,
    order: BTreeMap<u64, UserNum>,
}

/// Told who has something new to show to others. Called by who changes it: it takes a note and returns.
pub type PresenceWatcher = Box<dyn Fn(&[UserNum]) + Send + Sync>;

/// Who is online.
pub struct Presence {
    clock: Arc<dyn Clock>,
    epoch: u64,
    options: PresenceOptions,
    stream: Mutex<Stream>,
    watchers: RwLock<Vec<PresenceWatcher>>,
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presence").field("epoch", &self.epoch).field("options", &self.options).finish_non_exhaustive()
    }
}

impl Presence {
    pub(crate) fn new(clock: Arc<dyn Clock>, epoch: u64, options: PresenceOptions) -> Self {
        Self { clock, epoch, options, stream: Mutex::default(), watchers: RwLock::default() }
    }

    /// Adds who is told of changes.
    pub fn watch(&self, watcher: PresenceWatcher) {
        self.watchers.write().push(watcher);
    }

    fn tell(&self, users: &[UserNum]) {
        if !users.is_empty() {
            self.watchers.read().iter().for_each(|watcher| watcher(users));
        }
    }

    /// Where the stream is now.
    pub fn pos(&self) -> PresencePos {
        PresencePos { epoch: self.epoch, n: self.stream.lock().n }
    }

    /// What a user or a client says outright. Returns whether others have something new to see.
    ///
    /// # Errors
    /// [`UsersError::TooLarge`].
    pub fn set(&self, user: UserNum, state: PresenceState, status_msg: Option<&str>) -> Result<bool> {
        if status_msg.is_some_and(|status| status.len() > MAX_STATUS) {
            return Err(UsersError::TooLarge { what: "the status message", limit: MAX_STATUS });
        }
        let status_msg = status_msg.filter(|status| !status.is_empty());
        let online = state == PresenceState::Online;
        Ok(self.update(user, |entry, now| {
            entry.heard_ts = now;
            if online {
                entry.active_ts = now;
            }
            entry.shown_active = online;
            entry.state = state;
            if entry.status_msg.as_deref() != status_msg {
                entry.status_msg = status_msg.map(Arc::from);
            }
        }))
    }

    /// What another server says of one of its users, who was active `last_active_ago` milliseconds ago. A status message that is too
    /// long is cut. Returns whether anybody has something new to see; the watcher is not told, or it would be sent back.
    pub fn set_remote(
        &self,
        user: UserNum,
        state: PresenceState,
        status_msg: Option<&str>,
        last_active_ago: u64,
        currently_active: bool,
    ) -> bool {
        let status_msg =
            status_msg.map(|status| status.get(..status.floor_char_boundary(MAX_STATUS)).unwrap_or_default());
        let status_msg = status_msg.filter(|status| !status.is_empty());
        self.apply(user, |entry, now| {
            entry.remote = true;
            entry.heard_ts = now;
            entry.active_ts = now.saturating_sub(last_active_ago);
            entry.shown_active = currently_active && state == PresenceState::Online;
            entry.state = state;
            if entry.status_msg.as_deref() != status_msg {
                entry.status_msg = status_msg.map(Arc::from);
            }
        })
    }

    /// A client syncs, with the state it asked for (`set_presence`). Keeps the status message. Returns whether others
    /// have something new to see.
    pub fn syncing(&self, user: UserNum, state: PresenceState) -> bool {
        if state == PresenceState::Offline && self.get(user).is_none() {
            return false;
        }
        let idle_ms = self.options.idle_ms;
        self.update(user, |entry, now| {
            entry.heard_ts = now;
            match state {
                // Asked for by a sync that stays quiet about presence.
                PresenceState::Offline => {}
                PresenceState::Online if entry.state == PresenceState::Offline => {
                    entry.active_ts = now;
                    entry.state = PresenceState::Online;
                    entry.shown_active = true;
                }
                // A client that syncs and whose user does nothing stays unavailable.
                PresenceState::Online if now.saturating_sub(entry.active_ts) >= idle_ms => {}
                state => entry.state = state,
            }
        })
    }

    /// The user did something: sent, read, typed. Returns whether others have something new to see.
    pub fn active(&self, user: UserNum) -> bool {
        self.update(user, |entry, now| {
            entry.heard_ts = now;
            entry.active_ts = now;
            entry.state = PresenceState::Online;
            entry.shown_active = true;
        })
    }

    /// Lets those become unavailable or offline whose time has come, and returns them. To be called every few seconds.
    pub fn tick(&self) -> Vec<UserNum> {
        let now = self.clock.now_ms();
        let mut stream = self.stream.lock();
        let due = |entry: &Entry| self.decayed(entry, now).is_some();
        let users: Vec<_> = stream.users.iter().filter(|(_, entry)| due(entry)).map(|(user, _)| *user).collect();
        for user in &users {
            let Some(decayed) = stream.users.get(user).and_then(|entry| self.decayed(entry, now)) else {
                continue;
            };
            self.place(&mut stream, *user, decayed);
        }
        let is_local = |user: &UserNum| stream.users.get(user).is_some_and(|entry| !entry.remote);
        let local: Vec<UserNum> = users.iter().copied().filter(is_local).collect();
        drop(stream);
        self.tell(&local);
        users
    }

    /// What time alone has made of an entry, if it differs.
    fn decayed(&self, entry: &Entry, now: u64) -> Option<Entry> {
        if entry.remote {
            let gone = now.saturating_sub(entry.heard_ts) >= REMOTE_SILENCE && entry.state != PresenceState::Offline;
            return gone.then(|| Entry { state: PresenceState::Offline, shown_active: false, ..entry.clone() });
        }
        let silent = now.saturating_sub(entry.heard_ts) >= self.options.offline_ms;
        let idle = now.saturating_sub(entry.active_ts) >= self.options.idle_ms;
        let state = match entry.state {
            PresenceState::Offline => PresenceState::Offline,
            _ if silent => PresenceState::Offline,
            PresenceState::Online if idle => PresenceState::Unavailable,
            ref state => state.clone(),
        };
        let active = now.saturating_sub(entry.active_ts) < self.options.active_ms;
        let shown_active = entry.shown_active && active && state == PresenceState::Online;
        (state != entry.state || shown_active != entry.shown_active).then(|| Entry {
            state,
            shown_active,
            ..entry.clone()
        })
    }

    fn update(&self, user: UserNum, change: impl FnOnce(&mut Entry, u64)) -> bool {
        let changed = self.apply(user, change);
        if changed {
            self.tell(&[user]);
        }
        changed
    }

    fn apply(&self, user: UserNum, change: impl FnOnce(&mut Entry, u64)) -> bool {
        let now = self.clock.now_ms();
        let mut stream = self.stream.lock();
        let old = stream.users.get(&user);
        let mut entry = old.cloned().unwrap_or(Entry {
            n: 0,
            state: PresenceState::Offline,
            status_msg: None,
            active_ts: now,
            heard_ts: now,
            shown_active: false,
            remote: false,
        });
        change(&mut entry, now);
        let seen = |entry: &Entry| (entry.state.clone(), entry.status_msg.clone(), entry.shown_active);
        let changed = old.map(seen) != Some(seen(&entry));
        if changed {
            self.place(&mut stream, user, entry);
        } else {
            // The times moved, which is not worth a message to anybody.
            stream.users.insert(user, entry);
        }
        changed
    }

    /// Puts an entry at the end of the stream.
    fn place(&self, stream: &mut Stream, user: UserNum, entry: Entry) {
        stream.n += 1;
        let n = stream.n;
        if let Some(old) = stream.users.insert(user, Entry { n, ..entry }) {
            stream.order.remove(&old.n);
        }
        stream.order.insert(n, user);
        while stream.users.len() > self.options.max_users.max(1) {
            let Some((_, oldest)) = stream.order.pop_first() else {
                return;
            };
            stream.users.remove(&oldest);
        }
    }

    /// A user's presence, if anything is known of it.
    pub fn get(&self, user: UserNum) -> Option<UserPresence> {
        let now = self.clock.now_ms();
        self.stream.lock().users.get(&user).map(|entry| self.view(entry, now))
    }

    fn view(&self, entry: &Entry, now: u64) -> UserPresence {
        let decayed = self.decayed(entry, now);
        let entry = decayed.as_ref().unwrap_or(entry);
        UserPresence {
            state: entry.state.clone(),
            status_msg: entry.status_msg.as_deref().map(str::to_owned),
            last_active_ago: now.saturating_sub(entry.active_ts),
            currently_active: entry.shown_active,
        }
    }

    /// What changed behind `from` among the users that `wanted` names, and where the stream is now. A position of another
    /// run, or none, gives all that is known.
    pub fn changes(
        &self,
        from: Option<PresencePos>,
        mut wanted: impl FnMut(UserNum) -> bool,
    ) -> (Vec<(UserNum, UserPresence)>, PresencePos) {
        let now = self.clock.now_ms();
        let from = from.filter(|from| from.epoch == self.epoch).map_or(0, |from| from.n);
        let stream = self.stream.lock();
        let mut out = Vec::new();
        for user in stream.order.range(from.saturating_add(1)..).map(|(_, user)| *user) {
            if let Some(entry) = stream.users.get(&user).filter(|_| wanted(user)) {
                out.push((user, self.view(entry, now)));
            }
        }
        (out, PresencePos { epoch: self.epoch, n: stream.n })
    }
}

#[cfg(test)]
mod tests;
