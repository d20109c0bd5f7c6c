//! Ledgers that were there before us: what is still to be fetched stands in rows, so that neither a restart nor the outage of a peer
//! loses it.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use engine::{EngineError, Room, RoomNum};
use parking_lot::Mutex;
use ruma::OwnedEventId;
use serde::{Deserialize, Serialize};
use store::{CommitError, Json, Keyspace, Page, StoreError, Table};
use tokio::sync::Notify;

use crate::{Federation, remote::FetchedLedger};

/// Rooms whose ledger is not whole.
const LATE: Table<RoomNum, Json<Late>> = Table::new(Keyspace::Index, 80, "late_ledgers");

/// The state event that names a room's ledger.
const POINTER: &str = "com.cliquepay.ledger";
/// The shortest and the longest wait between two tries.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// Tries after which what nobody has is given up, where everything else is here.
const TRIES: u32 = 6;
/// Rows looked at in one go.
const BATCH: usize = 100;

/// A ledger that is to be fetched.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Late {
    /// How often that was tried.
    #[serde(default)]
    tries: u32,
    /// No earlier than this, milliseconds since the Unix epoch.
    #[serde(default)]
    after: u64,
}

/// What is known of ledgers on their way.
#[derive(Debug, Default)]
pub(crate) struct LateLedgers {
    waiting: Mutex<HashSet<RoomNum>>,
    /// What was asked for last, as a hash: nobody who has been looked for in vain is looked for again until something else is missing.
    asked: Mutex<HashMap<RoomNum, u64>>,
    wake: Notify,
}

/// Rooms of which it is remembered what was asked for, at most.
const REMEMBERED: usize = 10_000;

impl LateLedgers {
    /// Whether a ledger is to be fetched that was not on its way already, and for something that was not looked for just before.
    fn ask(&self, room: RoomNum, missing: &[OwnedEventId]) -> bool {
        if !self.waiting.lock().insert(room) {
            return false;
        }
        let mut asked = self.asked.lock();
        if asked.len() >= REMEMBERED {
            asked.clear();
        }
        let before = asked.insert(room, hash(missing));
        let again = !missing.is_empty() && before == Some(hash(missing));
        if again {
            self.waiting.lock().remove(&room);
        }
        !again
    }
}

fn hash(missing: &[OwnedEventId]) -> u64 {
    let mut hasher = DefaultHasher::new();
    missing.hash(&mut hasher);
    hasher.finish()
}

/// Why a ledger was not looked at.
#[derive(Debug, thiserror::Error)]
enum LateError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl Federation {
    /// Has a room's ledger fetched: entries that are here already cost little. `missing` names what is known to be missing, in order; what
    /// was looked for in vain before is not looked for again.
    ///
    /// # Errors
    /// [`CommitError`]
    pub async fn want_ledger(&self, room: RoomNum, missing: &[OwnedEventId]) -> Result<(), CommitError> {
        if !self.late.ask(room, missing) {
            return Ok(());
        }
        let mut write = self.db.write();
        write.put(&LATE, &room, &Json(Late::default()));
        write.commit().await?;
        self.late.wake.notify_one();
        Ok(())
    }

    /// Whether a room's ledger is on its way.
    pub fn awaits_ledger(&self, room: RoomNum) -> bool {
        self.late.waiting.lock().contains(&room)
    }

    /// Fetches what is to be fetched until `stop` resolves.
    pub async fn fetch_late_ledgers(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        tokio::select! {
            biased;
            () = stop => {}
            () = self.keep_fetching() => {}
        }
    }

    async fn keep_fetching(&self) {
        loop {
            let wait = match self.fetch_due().await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(%error, "late ledgers cannot be looked at");
                    LONGEST
                }
            };
            // Somebody who wants another ledger meanwhile is not kept waiting.
            let _ = tokio::time::timeout(wait, self.late.wake.notified()).await;
        }
    }

    /// Tries every ledger whose time has come, and says how long until the next one's.
    async fn fetch_due(&self) -> Result<Duration, LateError> {
        let (mut from, mut next) = (0, u64::MAX);
        loop {
            let rows = self.db.scan(&LATE, &from, &u64::MAX, Page::first(BATCH)).await?;
            let full = rows.len() == BATCH;
            for (room, Json(late)) in rows {
                from = room.saturating_add(1);
                self.late.waiting.lock().insert(room);
                let after = if late.after <= self.clock.now_ms() {
                    self.try_ledger(room, late).await?
                } else {
                    Some(late.after)
                };
                next = next.min(after.unwrap_or(u64::MAX));
            }
            if !full {
                let wait = Duration::from_millis(next.saturating_sub(self.clock.now_ms()));
                return Ok(wait.clamp(Duration::from_millis(50), LONGEST));
            }
        }
    }

    /// Tries one ledger. Gives the time of the next try where there is to be one.
    async fn try_ledger(&self, num: RoomNum, late: Late) -> Result<Option<u64>, LateError> {
        let fetched = match self.engine.room_by_num(num).await {
            Ok(room) => self.fetch_if_any(&room).await,
            Err(error) => Err(error),
        };
        let tries = late.tries.saturating_add(1);
        let done = match fetched {
            Ok(fetched) => fetched.is_complete() || (fetched.whole && tries >= TRIES),
            Err(EngineError::UnknownRoom) => true,
            Err(error) => {
                tracing::warn!(room = num, %error, "a ledger cannot be fetched");
                false
            }
        };
        let mut write = self.db.write();
        if done {
            write.delete(&LATE, &num);
            write.commit().await?;
            self.late.waiting.lock().remove(&num);
            return Ok(None);
        }
        let wait = SHORTEST.saturating_mul(1 << tries.min(12)).min(LONGEST);
        let after = self.clock.now_ms().saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        write.put(&LATE, &num, &Json(Late { tries, after }));
        write.commit().await?;
        Ok(Some(after))
    }

    async fn fetch_if_any(&self, room: &Arc<Room>) -> Result<FetchedLedger, EngineError> {
        let nothing = FetchedLedger { whole: true, ..FetchedLedger::default() };
        if room.info().servers.is_empty() || self.engine.current(room.num, POINTER, "").await?.is_none() {
            return Ok(nothing);
        }
        self.fetch_ledger(room).await
    }
}
