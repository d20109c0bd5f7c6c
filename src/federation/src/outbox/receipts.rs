//! Receipts of local users that are queued for a destination, as they go into a transaction. Each stands in a row since it was set, so
//! that neither a restart nor an outage loses it. [Receipts](https://spec.matrix.org/v1.19/server-server-api/#receipts).

use std::collections::{BTreeMap, BTreeSet};

use engine::{EngineError, OUTBOX, RECEIPTS_OUT, Receipt, RoomNum, ServerNum};
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId, UserId,
    api::federation::transactions::edu::{Edu, ReceiptContent, ReceiptData, ReceiptMap},
    events::receipt,
};
use serde_json::value::{RawValue, to_raw_value};
use store::Pos;

use super::{Outbox, OutboxError, edus::MAX_RECEIPT_EDUS};

/// Receipts in a transaction, at most.
pub(super) const MAX_RECEIPTS: usize = 200;
/// Receipts queued for a destination that is down: of more, the oldest go.
pub(super) const MAX_QUEUED: usize = 1000;

/// A public receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PublicReceipt {
    room: OwnedRoomId,
    user: OwnedUserId,
    event: OwnedEventId,
    /// A root's id, `main`, or empty.
    thread: String,
    /// Milliseconds since the Unix epoch.
    ts: u64,
}

/// Receipts of one transaction.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// As they go into it.
    pub(super) edus: Vec<Box<RawValue>>,
    /// Where they are queued, and those that need not be told any more.
    pub(super) taken: Vec<Pos>,
}

/// Contents with room for one receipt of each user in each room: those in other threads go into the next.
#[derive(Debug, Default)]
struct Contents {
    all: Vec<BTreeMap<OwnedRoomId, ReceiptMap>>,
    of_user: BTreeMap<(OwnedRoomId, OwnedUserId), usize>,
}

impl Contents {
    /// Says whether there was room for it.
    fn add(&mut self, receipt: PublicReceipt) -> bool {
        let place = (receipt.room.clone(), receipt.user.clone());
        let nth = self.of_user.get(&place).copied().unwrap_or_default();
        if nth >= MAX_RECEIPT_EDUS {
            return false;
        }
        if nth >= self.all.len() {
            self.all.push(BTreeMap::new());
        }
        if let Some(content) = self.all.get_mut(nth) {
            let data = data(&receipt);
            let room = content.entry(receipt.room).or_insert_with(|| ReceiptMap::new(BTreeMap::new()));
            room.read.insert(receipt.user, data);
        }
        self.of_user.insert(place, nth + 1);
        true
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

impl Outbox {
    /// What is queued for a destination from a position on, in its order, as much as fits into a transaction. Rows before the first that
    /// is worth telling are deleted.
    pub(super) async fn receipts(&self, server: ServerNum, mut from: Pos) -> Result<Receipts, OutboxError> {
        loop {
            let (mut contents, mut taken) = (Contents::default(), Vec::new());
            for (pos, room, receipt) in self.engine.receipts_for(server, from, MAX_RECEIPTS).await? {
                let public = match receipt {
                    Some(receipt) => self.public(server, room, receipt).await?,
                    None => None,
                };
                if public.is_some_and(|public| !contents.add(public)) {
                    break;
                }
                taken.push(pos);
            }
            let Some(last) = taken.last().filter(|_| contents.all.is_empty()) else {
                let edus =
                    contents.all.into_iter().map(|rooms| to_raw_value(&Edu::Receipt(ReceiptContent::new(rooms))));
                return Ok(Receipts { edus: edus.collect::<Result<_, _>>()?, taken });
            };
            from = last.saturating_add(1);
            let mut write = self.db.write();
            write.ops(taken.iter().map(|pos| RECEIPTS_OUT.delete(&(server, *pos))));
            write.commit().await?;
        }
    }

    /// The receipt as others see it, where the destination still takes part in the room.
    async fn public(
        &self,
        server: ServerNum,
        room: RoomNum,
        receipt: Receipt,
    ) -> Result<Option<PublicReceipt>, OutboxError> {
        let room = match self.engine.room_by_num(room).await {
            Ok(room) => room,
            Err(EngineError::UnknownRoom) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !room.info().servers.contains(&server) {
            return Ok(None);
        }
        let (Ok(user), Ok(event)) = (UserId::parse(receipt.row.user_id), receipt.row.event_id.try_into()) else {
            return Ok(None);
        };
        let (room, thread, ts) = (room.id.clone(), receipt.thread, receipt.row.ts);
        Ok(Some(PublicReceipt { room, user, event, thread, ts }))
    }

    /// Deletes, of the receipts queued for a destination that is down, all but the newest; what is in flight stays.
    pub(super) async fn bound_receipts(&self, server: ServerNum, in_flight: &BTreeSet<Pos>) -> Result<(), OutboxError> {
        let rows = self.db.scan_all(&RECEIPTS_OUT, &server).await?;
        let waiting: Vec<Pos> =
            rows.into_iter().map(|((_, pos), _)| pos).filter(|pos| !in_flight.contains(pos)).collect();
        let Some(gone) = waiting.len().checked_sub(MAX_QUEUED).filter(|gone| *gone > 0) else { return Ok(()) };
        let mut write = self.db.write();
        write.ops(waiting.iter().take(gone).map(|pos| RECEIPTS_OUT.delete(&(server, *pos))));
        Ok(write.commit().await?)
    }

    /// Whether anything is queued for a destination.
    pub(super) async fn next_queued(&self, from: ServerNum) -> Result<Option<ServerNum>, store::StoreError> {
        let page = store::Page::first(1);
        let event = self.db.scan(&OUTBOX, &from, &u64::MAX, page).await?;
        let receipt = self.db.scan(&RECEIPTS_OUT, &from, &u64::MAX, page).await?;
        let edu = self.db.scan(&users::EDUS_OUT, &from, &u64::MAX, page).await?;
        let servers = event.into_iter().map(|((server, _), _)| server);
        let servers = servers.chain(edu.into_iter().map(|((server, _), _)| server));
        Ok(servers.chain(receipt.into_iter().map(|((server, _), _)| server)).min())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn receipt(room: &str, user: &str, thread: &str, ts: u64) -> PublicReceipt {
        PublicReceipt {
            room: OwnedRoomId::try_from(format!("!{room}:one")).unwrap(),
            user: OwnedUserId::try_from(format!("@{user}:one")).unwrap(),
            event: OwnedEventId::try_from(format!("$e{ts}")).unwrap(),
            thread: thread.to_owned(),
            ts,
        }
    }

    #[test]
    fn receipts_share_edus_as_far_as_they_fit() {
        let mut contents = Contents::default();
        for receipt in [
            receipt("a", "u1", "", 2),
            receipt("a", "u2", "main", 3),
            receipt("a", "u1", "$root", 4),
            receipt("b", "u1", "", 5),
        ] {
            assert!(contents.add(receipt));
        }
        let mut full = Contents::default();
        assert!((0..MAX_RECEIPT_EDUS).all(|n| full.add(receipt("a", "u1", &format!("$t{n}"), 1))));
        assert!(!full.add(receipt("a", "u1", "$one-more", 1)) && full.add(receipt("b", "u1", "", 1)));
        assert_eq!(full.all.len(), MAX_RECEIPT_EDUS);
        let edus: Vec<Value> = contents
            .all
            .into_iter()
            .map(|rooms| serde_json::to_value(Edu::Receipt(ReceiptContent::new(rooms))).unwrap())
            .collect();
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
    }
}
