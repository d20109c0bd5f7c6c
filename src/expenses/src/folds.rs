//! Folds of rooms' ledgers, kept in memory and brought up to date from the index when somebody asks.

use std::{collections::BTreeSet, sync::Arc};

use engine::{EventNum, EventRow, Room, RoomNum};
use ledger::{Entry, Ledger, Source};
use quick_cache::{Weighter, sync::Cache};
use store::Page;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    Expenses, POINTER,
    error::RouteError,
    index::{ENTRIES, REDACTED},
};

/// Folds kept in memory, at most.
const KEPT: usize = 10_000;
/// Entries read at once.
const PAGE: usize = 1000;

/// A ledger with what it was folded from.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) ledger: Ledger,
    /// The last entry that was looked at.
    upto: EventNum,
    redacted: BTreeSet<EventNum>,
}

#[derive(Clone)]
struct Unweighted;

impl<K, V> Weighter<K, V> for Unweighted {
    fn weight(&self, _: &K, _: &V) -> u64 {
        1
    }
}

type Key = (RoomNum, String);

/// The folds in memory.
pub(crate) struct Folds {
    kept: Cache<Key, Arc<Mutex<Folded>>, Unweighted>,
}

impl Default for Folds {
    fn default() -> Self {
        Self { kept: Cache::with_weighter(KEPT, KEPT as u64, Unweighted) }
    }
}

impl Expenses {
    /// The root of the room's ledger, as its state says.
    pub(crate) async fn root_of(&self, room: &Room) -> Result<Option<String>, RouteError> {
        #[derive(serde::Deserialize)]
        struct Content {
            ledger: Option<String>,
        }
        let row = self.engine.current_event(room.num, POINTER, "").await?;
        let content = row.and_then(|row| serde_json::from_str::<Content>(row.content()).ok());
        Ok(content.and_then(|content| content.ledger))
    }

    /// The room's ledger, up to date.
    pub(crate) async fn ledger(&self, room: &Room) -> Result<OwnedMutexGuard<Folded>, RouteError> {
        if room.info().encrypted {
            return Err(RouteError::Encrypted);
        }
        let root = self.root_of(room).await?.ok_or(RouteError::NoLedger)?;
        let folded = self.folds.kept.get_or_insert_with(&(room.num, root.clone()), || {
            Ok::<_, RouteError>(Arc::new(Mutex::new(Folded {
                ledger: Ledger::new(&root),
                upto: 0,
                redacted: BTreeSet::new(),
            })))
        })?;
        let mut folded = folded.lock_owned().await;
        self.catch_up(room.num, &mut folded).await?;
        Ok(folded)
    }

    /// Folds what came since the last time.
    async fn catch_up(&self, room: RoomNum, folded: &mut Folded) -> Result<(), RouteError> {
        loop {
            let from = (room, folded.upto.saturating_add(1));
            let rows = self.engine.db.scan(&ENTRIES, &from, &(room, EventNum::MAX), Page::first(PAGE)).await?;
            let nums: Vec<EventNum> = rows.iter().map(|((_, num), ())| *num).collect();
            let Some(last) = nums.last() else { break };
            let events = self.engine.events(room, &nums).await?;
            folded.ledger.extend(events.iter().map(|(_, row)| entry_of(row)));
            folded.upto = *last;
            if nums.len() < PAGE {
                break;
            }
        }
        for ((_, num), ()) in self.engine.db.scan_all(&REDACTED, &room).await? {
            if folded.redacted.insert(num) {
                let row = self.engine.event(room, num).await?;
                folded.ledger.redact(row.event_id());
            }
        }
        Ok(())
    }
}

/// An event as the fold reads it.
pub(crate) fn entry_of(row: &EventRow) -> Entry {
    let kind = row.event_type();
    let source = Source {
        event_id: row.event_id(),
        sender: row.sender(),
        kind: &kind,
        origin_server_ts: row.origin_server_ts(),
        redacted: row.is_redacted(),
    };
    Entry::parse_json(&source, row.content())
}
