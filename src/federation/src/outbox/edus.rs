//! What is to be told to one destination and is true for a moment only: the newest of everything, bounded, in memory.
//! [EDUs](https://spec.matrix.org/v1.19/server-server-api/#edus).

use std::{collections::BTreeMap, sync::Arc};

use engine::{RoomNum, UserNum};
use ruma::api::federation::transactions::edu::{Edu, PresenceContent, PresenceUpdate, TypingContent};
use serde_json::value::{RawValue, to_raw_value};

use super::devices::MAX_DEVICE_EDUS;

/// EDUs in a transaction, at most.
/// [Transactions](https://spec.matrix.org/v1.19/server-server-api/#transactions).
const MAX_EDUS: usize = 100;
/// Of those, notices of typing: the rest is for one of presence, those about devices, and those with receipts.
const MAX_TYPING: usize = 25;
/// Of those, the ones with receipts.
pub(super) const MAX_RECEIPT_EDUS: usize = MAX_EDUS - MAX_TYPING - MAX_DEVICE_EDUS - 1;
/// Users in one notice of presence, and kept for the next.
const MAX_PRESENCE: usize = 100;

/// Something to tell a destination.
#[derive(Debug, Clone)]
pub(super) enum News {
    Typing(RoomNum, UserNum, Arc<TypingContent>),
    Presence(UserNum, Arc<PresenceUpdate>),
}

/// What waits for a destination's next transaction.
#[derive(Debug, Default)]
pub(super) struct Pending {
    typing: BTreeMap<(RoomNum, UserNum), Arc<TypingContent>>,
    presence: BTreeMap<UserNum, Arc<PresenceUpdate>>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.typing.is_empty() && self.presence.is_empty()
    }

    /// How much it holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.typing.len() + self.presence.len()
    }

    /// Takes up something to tell. To a destination that is down nothing is told: it will not be true any more when it is back.
    pub(super) fn add(&mut self, news: News, down: bool) {
        match news {
            News::Typing(room, user, typing) => {
                if !down && (self.typing.len() < MAX_TYPING || self.typing.contains_key(&(room, user))) {
                    self.typing.insert((room, user), typing);
                }
            }
            News::Presence(user, update) => {
                if !down && (self.presence.len() < MAX_PRESENCE || self.presence.contains_key(&user)) {
                    self.presence.insert(user, update);
                }
            }
        }
    }

    /// The destination is down: see [`Pending::add`].
    pub(super) fn down(&mut self) {
        self.typing.clear();
        self.presence.clear();
    }

    /// All of it, as it goes into a transaction.
    pub(super) fn take(&mut self) -> Vec<Box<RawValue>> {
        let mut edus = Vec::new();
        if !self.presence.is_empty() {
            let updates = std::mem::take(&mut self.presence).into_values().map(Arc::unwrap_or_clone);
            edus.push(Edu::Presence(PresenceContent::new(updates.collect())));
        }
        edus.extend(
            std::mem::take(&mut self.typing).into_values().map(|typing| Edu::Typing(Arc::unwrap_or_clone(typing))),
        );
        edus.iter().filter_map(|edu| to_raw_value(edu).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use ruma::OwnedUserId;

    use super::*;

    fn typing(user: UserNum) -> News {
        let id = OwnedUserId::try_from(format!("@u{user}:one")).unwrap();
        News::Typing(1, user, Arc::new(TypingContent::new("!a:one".try_into().unwrap(), id, true)))
    }

    #[test]
    fn what_is_not_true_later_is_not_kept_for_those_who_are_down() {
        let mut pending = Pending::default();
        pending.add(typing(1), false);
        pending.down();
        pending.add(typing(2), true);
        assert!(pending.is_empty() && pending.take().is_empty());
        pending.add(typing(3), false);
        assert_eq!(pending.take().len(), 1);
    }

    #[test]
    fn all_of_it_is_bounded() {
        let mut pending = Pending::default();
        for n in 0..1000 {
            pending.add(typing(n), false);
        }
        let edus = pending.take();
        assert_eq!(edus.len(), MAX_TYPING);
        assert!(pending.is_empty());
    }
}
