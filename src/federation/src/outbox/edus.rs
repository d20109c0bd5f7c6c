//! What is to be told to one destination and is not worth a row: the newest of everything, bounded.
//! [EDUs](https://spec.matrix.org/v1.19/server-server-api/#edus).

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use engine::{RoomNum, UserNum};
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId,
    api::federation::transactions::edu::{
        Edu, PresenceContent, PresenceUpdate, ReceiptContent, ReceiptData, ReceiptMap, TypingContent,
    },
    events::receipt,
};
use serde_json::value::{RawValue, to_raw_value};

/// EDUs in a transaction, at most.
/// [Transactions](https://spec.matrix.org/v1.19/server-server-api/#transactions).
pub(super) const MAX_EDUS: usize = 100;
/// Of those, notices of typing: the rest is for one of presence and those with receipts.
const MAX_TYPING: usize = 50;
/// Users in one notice of presence, and kept for the next.
const MAX_PRESENCE: usize = 100;
/// Receipts kept for one destination.
const MAX_RECEIPTS: usize = 200;

/// A public receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicReceipt {
    pub(super) room: OwnedRoomId,
    pub(super) user: OwnedUserId,
    pub(super) event: OwnedEventId,
    /// A root's id, `main`, or empty.
    pub(super) thread: String,
    /// Milliseconds since the Unix epoch.
    pub(super) ts: u64,
}

/// Something to tell a destination.
#[derive(Debug, Clone)]
pub(super) enum News {
    Typing(RoomNum, UserNum, Arc<TypingContent>),
    Receipt(RoomNum, UserNum, Arc<PublicReceipt>),
    Presence(UserNum, Arc<PresenceUpdate>),
}

type ReceiptKey = (RoomNum, UserNum, String);
type Receipts = BTreeMap<ReceiptKey, Arc<PublicReceipt>>;

/// What waits for a destination's next transaction.
#[derive(Debug, Default)]
pub(super) struct Pending {
    typing: BTreeMap<(RoomNum, UserNum), Arc<TypingContent>>,
    receipts: Receipts,
    presence: BTreeMap<UserNum, Arc<PresenceUpdate>>,
}

/// Part of what waited, on its way.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// As they go into the transaction.
    pub(super) edus: Vec<Box<RawValue>>,
    /// What is worth trying again.
    receipts: Receipts,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.typing.is_empty() && self.receipts.is_empty() && self.presence.is_empty()
    }

    /// Takes up something to tell. To a destination that is down nothing is told that will not be true any more when it is back.
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
            News::Receipt(room, user, receipt) => {
                self.receipts.insert((room, user, receipt.thread.clone()), receipt);
                self.bound();
            }
        }
    }

    fn bound(&mut self) {
        while self.receipts.len() > MAX_RECEIPTS {
            let oldest = self.receipts.iter().min_by_key(|(_, receipt)| receipt.ts).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.receipts.remove(&oldest);
        }
    }

    /// The destination is down: see [`Pending::add`].
    pub(super) fn down(&mut self) {
        self.typing.clear();
        self.presence.clear();
    }

    /// Puts back what a transaction that was given up had, where nothing newer came meanwhile.
    pub(super) fn restore(&mut self, batch: Batch) {
        for (key, receipt) in batch.receipts {
            if let Entry::Vacant(place) = self.receipts.entry(key) {
                place.insert(receipt);
            }
        }
        self.bound();
    }

    /// As much as fits into one transaction.
    pub(super) fn take(&mut self) -> Batch {
        let mut edus = Vec::new();
        if !self.presence.is_empty() {
            let updates = std::mem::take(&mut self.presence).into_values().map(Arc::unwrap_or_clone);
            edus.push(Edu::Presence(PresenceContent::new(updates.collect())));
        }
        edus.extend(
            std::mem::take(&mut self.typing).into_values().map(|typing| Edu::Typing(Arc::unwrap_or_clone(typing))),
        );
        let (contents, receipts) = self.take_receipts(MAX_EDUS.saturating_sub(edus.len()));
        edus.extend(contents.into_iter().map(|rooms| Edu::Receipt(ReceiptContent::new(rooms))));
        let edus = edus.iter().filter_map(|edu| to_raw_value(edu).ok()).collect();
        Batch { edus, receipts }
    }

    /// A content has room for one receipt of each user in each room: those in other threads go into the next.
    fn take_receipts(&mut self, most: usize) -> (Vec<BTreeMap<OwnedRoomId, ReceiptMap>>, Receipts) {
        let mut contents: Vec<BTreeMap<OwnedRoomId, ReceiptMap>> = Vec::new();
        let mut taken = BTreeMap::new();
        let mut last = None;
        let mut nth = 0;
        for (key, receipt) in std::mem::take(&mut self.receipts) {
            let place = Some((key.0, key.1));
            nth = if place == last { nth + 1 } else { 0 };
            last = place;
            if nth >= most {
                self.receipts.insert(key, receipt);
                continue;
            }
            if nth >= contents.len() {
                contents.push(BTreeMap::new());
            }
            if let Some(content) = contents.get_mut(nth) {
                let room = content.entry(receipt.room.clone()).or_insert_with(|| ReceiptMap::new(BTreeMap::new()));
                room.read.insert(receipt.user.clone(), data(&receipt));
            }
            taken.insert(key, receipt);
        }
        (contents, taken)
    }
}

fn data(receipt: &PublicReceipt) -> ReceiptData {
    let mut data = receipt::Receipt::default();
    data.ts = ruma::UInt::try_from(receipt.ts).ok().map(ruma::MilliSecondsSinceUnixEpoch);
    data.thread = match receipt.thread.as_str() {
        "" => receipt::ReceiptThread::Unthreaded,
        thread => {
            receipt::ReceiptThread::try_from(Some(thread.to_owned())).unwrap_or(receipt::ReceiptThread::Unthreaded)
        }
    };
    ReceiptData::new(data, vec![receipt.event.clone()])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn receipt(room: &str, user: UserNum, thread: &str, ts: u64) -> News {
        let receipt = PublicReceipt {
            room: OwnedRoomId::try_from(format!("!{room}:one")).unwrap(),
            user: OwnedUserId::try_from(format!("@u{user}:one")).unwrap(),
            event: OwnedEventId::try_from(format!("$e{ts}")).unwrap(),
            thread: thread.to_owned(),
            ts,
        };
        News::Receipt(u64::from(room.as_bytes()[0]), user, Arc::new(receipt))
    }

    fn typing(user: UserNum, typing: bool) -> News {
        let id = OwnedUserId::try_from(format!("@u{user}:one")).unwrap();
        News::Typing(1, user, Arc::new(TypingContent::new("!a:one".try_into().unwrap(), id, typing)))
    }

    fn values(batch: &Batch) -> Vec<Value> {
        batch.edus.iter().map(|edu| serde_json::from_str(edu.get()).unwrap()).collect()
    }

    #[test]
    fn receipts_share_edus_and_the_newest_wins() {
        let mut pending = Pending::default();
        for news in [
            receipt("a", 1, "", 1),
            receipt("a", 1, "", 2),
            receipt("a", 2, "main", 3),
            receipt("a", 1, "$root", 4),
            receipt("b", 1, "", 5),
        ] {
            pending.add(news, true);
        }
        let edus = values(&pending.take());
        assert_eq!(
            edus,
            [
                json!({"edu_type": "m.receipt", "content": {
                    "!a:one": {"m.read": {
                        "@u1:one": {"data": {"ts": 2}, "event_ids": ["$e2"]},
                        "@u2:one": {"data": {"ts": 3, "thread_id": "main"}, "event_ids": ["$e3"]},
                    }},
                    "!b:one": {"m.read": {"@u1:one": {"data": {"ts": 5}, "event_ids": ["$e5"]}}},
                }}),
                json!({"edu_type": "m.receipt", "content": {
                    "!a:one": {"m.read": {"@u1:one": {"data": {"ts": 4, "thread_id": "$root"}, "event_ids": ["$e4"]}}},
                }}),
            ]
        );
        assert!(pending.is_empty());
    }

    #[test]
    fn what_is_not_true_later_is_not_kept_for_those_who_are_down() {
        let mut pending = Pending::default();
        pending.add(typing(1, true), false);
        pending.add(receipt("a", 1, "", 1), false);
        pending.down();
        pending.add(typing(2, true), true);
        let batch = pending.take();
        assert_eq!(values(&batch).len(), 1);
        assert_eq!(values(&batch)[0]["edu_type"], "m.receipt");
        pending.add(receipt("a", 1, "", 9), true);
        pending.restore(batch);
        let again = values(&pending.take());
        assert_eq!(again[0]["content"]["!a:one"]["m.read"]["@u1:one"]["event_ids"], json!(["$e9"]));
    }

    #[test]
    fn all_of_it_is_bounded() {
        let mut pending = Pending::default();
        for n in 0..1000 {
            pending.add(receipt("a", 1, &format!("$t{n}"), n), false);
            pending.add(typing(n, true), false);
        }
        let first = pending.take();
        assert_eq!(first.edus.len(), MAX_EDUS);
        assert!(first.receipts.values().all(|receipt| receipt.ts >= 800));
        let mut rest = first.receipts.len();
        while !pending.is_empty() {
            let next = pending.take();
            assert!(next.edus.len() <= MAX_EDUS && !next.edus.is_empty());
            rest += next.receipts.len();
        }
        assert_eq!(rest, MAX_RECEIPTS);
    }
}
