//! Short numbers for long ids.

use std::{collections::HashMap, sync::Arc};

use quick_cache::sync::Cache;
use tokio::sync::Mutex;

use crate::{
    db::{Db, Page},
    error::{CommitError, StoreError},
    table::Table,
    traits::Keyspace,
};

const FORWARD: Table<(u8, String), u64> = Table::new(Keyspace::Index, 1, "id_numbers");
const BACKWARD: Table<(u8, u64), String> = Table::new(Keyspace::Index, 2, "number_ids");

/// What a number stands for. Numbers of different kinds are independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum IdKind {
    /// A Matrix user id, local or remote.
    User = 1,
    /// A Matrix room id.
    Room = 2,
    /// A Matrix server name.
    Server = 3,
}

/// Why an id has no number.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InternError {
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Interned ids: both directions durable in one commit, cached in memory.
pub struct Ids {
    db: Arc<Db>,
    numbers: Cache<(u8, String), u64>,
    names: Cache<(u8, u64), Arc<str>>,
    next: [Mutex<Option<u64>>; 3],
}

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ids").finish_non_exhaustive()
    }
}

impl Ids {
    /// Ids over a database; `capacity` of each direction is kept in memory.
    pub fn new(db: Arc<Db>, capacity: usize) -> Self {
        Self {
            db,
            numbers: Cache::new(capacity),
            names: Cache::new(capacity),
            next: [const { Mutex::const_new(None) }; 3],
        }
    }

    /// The number of an id, where it has one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find(&self, kind: IdKind, id: &str) -> Result<Option<u64>, StoreError> {
        let key = (kind as u8, id.to_owned());
        if let Some(number) = self.numbers.get(&key) {
            return Ok(Some(number));
        }
        let found = self.db.get(&FORWARD, &key).await?;
        if let Some(number) = found {
            self.numbers.insert(key, number);
        }
        Ok(found)
    }

    /// The number of an id, given durably where it had none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn number(&self, kind: IdKind, id: &str) -> Result<u64, InternError> {
        if let Some(number) = self.find(kind, id).await? {
            return Ok(number);
        }
        let mut next = self.next[kind as usize - 1].lock().await;
        // Taken out, so that a caller who is dropped while the commit is under way leaves no stale number behind.
        let known = next.take();
        if known.is_none() {
            // Whatever such a caller queued has landed once this has.
            self.db.write().commit().await?;
        }
        if let Some(number) = self.find(kind, id).await? {
            *next = known;
            return Ok(number);
        }
        let number = match known {
            Some(number) => number,
            None => {
                self.db.scan_prefix(&BACKWARD, &(kind as u8), Page::last(1)).await?.first().map_or(1, |row| row.0.1 + 1)
            }
        };
        let mut write = self.db.write();
        write.require(BACKWARD.absent(&(kind as u8, number)));
        write.put(&FORWARD, &(kind as u8, id.to_owned()), &number);
        write.put(&BACKWARD, &(kind as u8, number), &id.to_owned());
        write.commit().await?;
        *next = Some(number + 1);
        self.numbers.insert((kind as u8, id.to_owned()), number);
        Ok(number)
    }

    /// The numbers of many ids, in their order, as [`Ids::number`] gives them: those that had none get theirs in one commit.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn numbers(&self, kind: IdKind, ids: &[&str]) -> Result<Vec<u64>, InternError> {
        let mut found = self.find_all(kind, ids).await?;
        if found.iter().any(Option::is_none) {
            let mut next = self.next[kind as usize - 1].lock().await;
            let known = next.take();
            if known.is_none() {
                self.db.write().commit().await?;
            }
            found = self.find_all(kind, ids).await?;
            let mut number = match known {
                Some(number) => number,
                None => {
                    let last = self.db.scan_prefix(&BACKWARD, &(kind as u8), Page::last(1)).await?;
                    last.first().map_or(1, |row| row.0.1 + 1)
                }
            };
            let mut write = self.db.write();
            write.require(BACKWARD.absent(&(kind as u8, number)));
            let mut given: HashMap<&str, u64> = HashMap::new();
            for (id, slot) in ids.iter().zip(&mut found).filter(|(_, slot)| slot.is_none()) {
                let this = *given.entry(*id).or_insert_with(|| {
                    write.put(&FORWARD, &(kind as u8, (*id).to_owned()), &number);
                    write.put(&BACKWARD, &(kind as u8, number), &(*id).to_owned());
                    number += 1;
                    number - 1
                });
                *slot = Some(this);
            }
            write.commit().await?;
            *next = Some(number);
        }
        Ok(found.into_iter().flatten().collect())
    }

    async fn find_all(&self, kind: IdKind, ids: &[&str]) -> Result<Vec<Option<u64>>, StoreError> {
        let keys: Vec<(u8, String)> = ids.iter().map(|id| (kind as u8, (*id).to_owned())).collect();
        let mut found: Vec<Option<u64>> = keys.iter().map(|key| self.numbers.get(key)).collect();
        let missing: Vec<_> =
            keys.into_iter().zip(&found).filter(|(_, number)| number.is_none()).map(|(key, _)| key).collect();
        let read = self.db.multi_get(&FORWARD, &missing).await?;
        for (slot, (key, number)) in found.iter_mut().filter(|slot| slot.is_none()).zip(missing.into_iter().zip(read)) {
            *slot = number;
            if let Some(number) = number {
                self.numbers.insert(key, number);
            }
        }
        Ok(found)
    }

    /// The id behind a number.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn name(&self, kind: IdKind, number: u64) -> Result<Option<Arc<str>>, StoreError> {
        let key = (kind as u8, number);
        if let Some(name) = self.names.get(&key) {
            return Ok(Some(name));
        }
        let Some(name) = self.db.get(&BACKWARD, &key).await? else { return Ok(None) };
        let name: Arc<str> = name.into();
        self.names.insert(key, Arc::clone(&name));
        Ok(Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommitterOptions, MemoryStore, Store, open_schema};

    #[tokio::test]
    async fn a_caller_who_goes_away_takes_no_number_with_them() {
        use futures::FutureExt as _;
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        open_schema(&*store, 1, &[]).unwrap();
        let db = Db::open(Arc::clone(&store), CommitterOptions::default(), |_| {}).unwrap();
        let ids = Ids::new(db, 100);
        ids.number(IdKind::User, "@first:x").await.unwrap();
        for n in 0..20 {
            // Polled once, which queues the commit, and dropped.
            let _ = ids.number(IdKind::User, &format!("@gone{n}:x")).now_or_never();
            let id = format!("@stays{n}:x");
            let number = ids.number(IdKind::User, &id).await.unwrap();
            assert_eq!(ids.name(IdKind::User, number).await.unwrap().as_deref(), Some(id.as_str()));
        }
    }

    #[tokio::test]
    async fn many_ids_get_their_numbers_at_once() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        open_schema(&*store, 1, &[]).unwrap();
        let db = Db::open(Arc::clone(&store), CommitterOptions::default(), |_| {}).unwrap();
        let ids = Ids::new(Arc::clone(&db), 100);
        assert_eq!(ids.number(IdKind::User, "@b:x").await.unwrap(), 1);
        let numbers = ids.numbers(IdKind::User, &["@a:x", "@b:x", "@a:x", "@c:x"]).await.unwrap();
        assert_eq!(numbers, [2, 1, 2, 3]);
        assert_eq!(ids.numbers(IdKind::User, &["@c:x", "@a:x"]).await.unwrap(), [3, 2]);
        assert_eq!(ids.number(IdKind::User, "@d:x").await.unwrap(), 4);
        let ids = Ids::new(db, 100);
        assert_eq!(ids.numbers(IdKind::User, &["@e:x", "@d:x", "@a:x"]).await.unwrap(), [5, 4, 2]);
        assert_eq!(ids.name(IdKind::User, 5).await.unwrap().as_deref(), Some("@e:x"));
    }

    #[tokio::test]
    async fn an_id_keeps_its_number_across_restarts_and_under_races() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        open_schema(&*store, 1, &[]).unwrap();
        let db = Db::open(Arc::clone(&store), CommitterOptions::default(), |_| {}).unwrap();
        let ids = Ids::new(Arc::clone(&db), 100);
        let both = futures::join!(ids.number(IdKind::User, "@a:x"), ids.number(IdKind::User, "@a:x"));
        assert_eq!((both.0.unwrap(), both.1.unwrap()), (1, 1));
        assert_eq!(ids.number(IdKind::User, "@b:x").await.unwrap(), 2);
        assert_eq!(ids.number(IdKind::Room, "!r").await.unwrap(), 1);
        let ids = Ids::new(db, 100);
        assert_eq!(ids.find(IdKind::User, "@c:x").await.unwrap(), None);
        assert_eq!(ids.number(IdKind::User, "@c:x").await.unwrap(), 3);
        assert_eq!(ids.name(IdKind::User, 2).await.unwrap().as_deref(), Some("@b:x"));
    }
}
