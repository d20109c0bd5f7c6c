//! What a service is to look at: that something happened, who types, who came or went.

use std::collections::BTreeSet;

use auth::appservices::Registration;
use engine::{RoomNum, Typing, UserNum};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Rooms and users that are noted at a time; what is beyond is not told.
const MAX_NOTED: usize = 1000;
/// Of them, those that one transaction tells of.
const MAX_TAKEN: usize = 100;

#[derive(Debug, Default)]
struct Notes {
    typing: BTreeSet<RoomNum>,
    presence: BTreeSet<UserNum>,
    /// Rooms in which somebody types, as the service was told.
    told: BTreeSet<RoomNum>,
}

/// The notes for one service.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    ephemeral: bool,
    notes: Mutex<Notes>,
    wake: Notify,
}

impl Mailbox {
    pub(crate) fn of(service: &Registration) -> Self {
        Self { ephemeral: service.receive_ephemeral && service.url.is_some(), ..Self::default() }
    }

    /// Something is in the feed.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Somebody began or stopped typing in a room.
    pub(crate) fn typing(&self, room: RoomNum) {
        self.note(|notes| {
            if notes.typing.len() < MAX_NOTED {
                notes.typing.insert(room);
            }
        });
    }

    /// Users have something new to show.
    pub(crate) fn presence(&self, users: &[UserNum]) {
        self.note(|notes| {
            let room = MAX_NOTED.saturating_sub(notes.presence.len());
            notes.presence.extend(users.iter().take(room));
        });
    }

    fn note(&self, note: impl FnOnce(&mut Notes)) {
        if self.ephemeral {
            note(&mut self.notes.lock());
            self.wake.notify_one();
        }
    }

    /// The rooms and users to look at, as many as one transaction tells of.
    pub(super) fn take(&self) -> (Vec<RoomNum>, Vec<UserNum>) {
        let mut notes = self.notes.lock();
        (taken(&mut notes.typing), taken(&mut notes.presence))
    }

    /// A service was told whether anybody types in a room.
    pub(super) fn told(&self, room: RoomNum, anybody: bool) {
        let told = &mut self.notes.lock().told;
        if !anybody {
            told.remove(&room);
        } else if told.len() < MAX_NOTED {
            told.insert(room);
        }
    }

    /// Milliseconds until somebody of whom the service knows may have stopped typing.
    pub(super) fn next_expiry(&self, typing: &Typing) -> Option<u64> {
        let told = self.notes.lock().told.clone();
        // Whose time is over already is looked at soon, too.
        (!told.is_empty()).then(|| typing.next_expiry(told).unwrap_or(1))
    }

    /// Has the rooms in which somebody typed looked at again.
    pub(super) fn look_again(&self) {
        let mut notes = self.notes.lock();
        let told = notes.told.clone();
        notes.typing.extend(told);
    }
}

fn taken<T: Ord>(from: &mut BTreeSet<T>) -> Vec<T> {
    std::iter::from_fn(|| from.pop_first()).take(MAX_TAKEN).collect()
}
