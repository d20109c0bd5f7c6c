//! Servers that no room was ever shared with, of which keys are kept all the same: anybody can make up such names, and have their keys
//! fetched. Of these so many are kept, those that came last; of others everything is, for good.

use engine::Engine;
use ruma::OwnedServerName;
use store::{Db, IdKind, Keyspace, Page, StoreError, Table};
use tokio::sync::Mutex;

use crate::keys::known;

/// Strangers by the time at which they came: (milliseconds, server). Who shared a room since is in it until it is looked at.
const TIMES: Table<(u64, String), ()> = Table::new(Keyspace::Index, 82, "stranger_times");

/// Strangers whose keys are kept. More than any room has servers: while one is being joined all of them are strangers.
const MAX_STRANGERS: usize = 20_000;
/// How many are removed at once.
const BATCH: usize = 100;

/// How many there are.
#[derive(Debug)]
pub(super) struct Strangers {
    most: usize,
    /// `None` until they were counted.
    count: Mutex<Option<usize>>,
}

impl Default for Strangers {
    fn default() -> Self {
        Self::of(MAX_STRANGERS)
    }
}

impl Strangers {
    pub(super) fn of(most: usize) -> Self {
        Self { most, count: Mutex::default() }
    }

    /// Whether a server is one. Who ever was in a room that is known here has a number.
    pub(super) async fn is_one(engine: &Engine, server: &OwnedServerName) -> Result<bool, StoreError> {
        Ok(engine.ids.find(IdKind::Server, server.as_str()).await?.is_none())
    }

    /// Notes one more in the commit that keeps its keys.
    pub(super) fn note(write: &mut store::DbWrite<'_>, server: &OwnedServerName, now: u64) {
        write.put(&TIMES, &(now, server.to_string()), &());
    }

    /// After one more was noted: removes the oldest where there are too many. Returns who was.
    pub(super) async fn bound(&self, engine: &Engine, db: &Db) -> Result<Vec<OwnedServerName>, known::KeepError> {
        let mut count = self.count.lock().await;
        let there = match *count {
            Some(count) => count + 1,
            None => db.scan_all(&TIMES, &()).await?.len(),
        };
        *count = Some(there);
        if there <= self.most {
            return Ok(Vec::new());
        }
        let oldest = db.scan_prefix(&TIMES, &(), Page::first(BATCH.min(there - self.most + self.most / 100))).await?;
        let (mut write, mut gone) = (db.write(), Vec::new());
        for (key, ()) in &oldest {
            write.delete(&TIMES, key);
            if engine.ids.find(IdKind::Server, &key.1).await?.is_none() {
                write.ops(known::removal(&key.1));
                gone.extend(OwnedServerName::try_from(key.1.as_str()));
            }
        }
        write.commit().await?;
        *count = Some(there.saturating_sub(oldest.len()));
        Ok(gone)
    }
}
