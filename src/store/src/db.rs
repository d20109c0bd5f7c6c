use std::sync::Arc;

use bytes::Bytes;

use crate::{
    committer::{Committer, CommitterOptions, Stepper, Ticket, Write},
    error::{CommitError, StoreError},
    key::Key,
    notifier::{Notifier, WakeKeys},
    schema,
    stats::{StoreStats, add},
    table::{Table, Value},
    traits::{Commit, Keyspace, Op, Outcome, Pos, Precondition, Row, Scan, Store},
};

/// How much of a range to read, and from which end.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Rows, at most.
    pub limit: usize,
    /// From the end backwards.
    pub reverse: bool,
}

impl Page {
    /// The first rows of a range.
    pub fn first(limit: usize) -> Self {
        Self { limit, reverse: false }
    }

    /// The last rows of a range, last first.
    pub fn last(limit: usize) -> Self {
        Self { limit, reverse: true }
    }
}

/// Rows read in one go when a whole range is wanted.
const SCAN_PAGE: usize = 1000;

/// A store with typed tables, group commit, stream positions and wake-ups: what the rest of the server holds.
pub struct Db {
    store: Arc<dyn Store>,
    committer: Committer,
    notifier: Arc<Notifier>,
    stats: Arc<StoreStats>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("frontier", &self.frontier()).finish_non_exhaustive()
    }
}

impl Db {
    /// Opens a store whose schema was opened with [`crate::open_schema`]. `on_fatal` is called on the committer's
    /// thread, after all waiters were answered, when a write failed: the process should end.
    ///
    /// # Errors
    /// Where the last position cannot be read or the thread not be started.
    pub fn open(
        store: Arc<dyn Store>,
        options: CommitterOptions,
        on_fatal: impl Fn(&StoreError) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, StoreError> {
        let last_pos = schema::last_position(&*store)?;
        let notifier = Arc::new(Notifier::default());
        let stats = Arc::new(StoreStats::default());
        let committer = Committer::start(
            Arc::clone(&store),
            Arc::clone(&notifier),
            Arc::clone(&stats),
            options,
            last_pos,
            Box::new(on_fatal),
        )
        .map_err(|error| StoreError::Backend(error.to_string()))?;
        Ok(Arc::new(Self { store, committer, notifier, stats }))
    }

    /// Opens a store as [`Db::open`] does, with no thread of its own: commits land when the [`Stepper`] is told so.
    ///
    /// # Errors
    /// Where the last position cannot be read.
    pub fn open_stepped(store: Arc<dyn Store>) -> Result<(Arc<Self>, Stepper), StoreError> {
        let last_pos = schema::last_position(&*store)?;
        let notifier = Arc::new(Notifier::default());
        let stats = Arc::new(StoreStats::default());
        let (committer, stepper) =
            Committer::stepped(Arc::clone(&store), Arc::clone(&notifier), Arc::clone(&stats), last_pos);
        Ok((Arc::new(Self { store, committer, notifier, stats }), stepper))
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Who is woken by commits.
    pub fn notifier(&self) -> &Arc<Notifier> {
        &self.notifier
    }

    /// Counters of reads and writes.
    pub fn stats(&self) -> &StoreStats {
        &self.stats
    }

    /// The position up to which everything is durable and visible (or was dropped).
    pub fn frontier(&self) -> Pos {
        self.committer.frontier()
    }

    /// Reads one row.
    ///
    /// # Errors
    /// Those of the backend, or [`StoreError::Corrupt`].
    pub async fn get<K: Key, V: Value>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, StoreError> {
        self.get_raw(table.keyspace, &table.key(key)).await?.map(|value| table.decode(value)).transpose()
    }

    /// Reads one row by its encoded key.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn get_raw(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        add(&self.stats.gets, 1);
        self.store.get(keyspace, key).await
    }

    /// Reads several rows in one request, in the order of the keys.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub async fn multi_get<K: Key + 'static, V: Value>(
        &self,
        table: &Table<K, V>,
        keys: impl IntoIterator<Item = &K>,
    ) -> Result<Vec<Option<V>>, StoreError> {
        let keys: Vec<_> = keys.into_iter().map(|key| (table.keyspace, table.key(key))).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        add(&self.stats.multi_gets, 1);
        add(&self.stats.multi_get_keys, keys.len() as u64);
        let values = self.store.multi_get(&keys).await?;
        values.into_iter().map(|value| value.map(|value| table.decode(value)).transpose()).collect()
    }

    /// Reads a page of a range of encoded keys (`to` exclusive).
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn scan_raw(
        &self,
        keyspace: Keyspace,
        from: Bytes,
        to: Bytes,
        page: Page,
    ) -> Result<Vec<Row>, StoreError> {
        add(&self.stats.scans, 1);
        let scan = Scan { keyspace, from, to, limit: page.limit, reverse: page.reverse };
        let rows = self.store.scan(&scan).await?;
        add(&self.stats.scan_rows, rows.len() as u64);
        Ok(rows)
    }

    /// Reads a page of the rows from one typed key (inclusive) to another (exclusive).
    ///
    /// # Errors
    /// As [`Db::get`].
    pub async fn scan<K: Key, V: Value, P: Key, Q: Key>(
        &self,
        table: &Table<K, V>,
        from: &P,
        to: &Q,
        page: Page,
    ) -> Result<Vec<(K, V)>, StoreError> {
        let rows = self.scan_raw(table.keyspace, table.prefix(from), table.prefix(to), page).await?;
        rows.into_iter().map(|(key, value)| Ok((table.decode_key(&key)?, table.decode(value)?))).collect()
    }

    /// Reads a page of the rows whose keys begin with the given parts.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub async fn scan_prefix<K: Key, V: Value, P: Key>(
        &self,
        table: &Table<K, V>,
        parts: &P,
        page: Page,
    ) -> Result<Vec<(K, V)>, StoreError> {
        let rows = self.scan_raw(table.keyspace, table.prefix(parts), table.prefix_end(parts), page).await?;
        rows.into_iter().map(|(key, value)| Ok((table.decode_key(&key)?, table.decode(value)?))).collect()
    }

    /// Reads all rows whose keys begin with the given parts, page by page.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub async fn scan_all<K: Key, V: Value, P: Key>(
        &self,
        table: &Table<K, V>,
        parts: &P,
    ) -> Result<Vec<(K, V)>, StoreError> {
        let to = table.prefix_end(parts);
        let mut from = table.prefix(parts);
        let mut out = Vec::new();
        loop {
            let rows = self.scan_raw(table.keyspace, from, to.clone(), Page::first(SCAN_PAGE)).await?;
            let full = rows.len() == SCAN_PAGE;
            let mut last = Bytes::new();
            for (key, value) in rows {
                out.push((table.decode_key(&key)?, table.decode(value)?));
                last = key;
            }
            if !full {
                return Ok(out);
            }
            from = after(&last);
        }
    }

    /// Starts a write.
    pub fn write(&self) -> DbWrite<'_> {
        DbWrite { db: self, write: Write::default() }
    }

    /// Gives `positions` stream positions and queues the commit that `build` makes of the first of them. `build` runs
    /// under the sequencer's lock: encode the rows that need the position, nothing more.
    pub fn enqueue_at(&self, positions: u64, build: impl FnOnce(Pos, DbWrite<'_>) -> DbWrite<'_>) -> Ticket {
        self.committer.enqueue(positions, |pos| build(pos, self.write()).write)
    }

    /// Lets queued commits land and takes no more.
    pub fn shutdown(&self) {
        self.committer.shutdown();
        self.notifier.wake_all();
    }
}

/// The first key behind `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}

/// A commit being put together.
pub struct DbWrite<'a> {
    db: &'a Db,
    write: Write,
}

impl DbWrite<'_> {
    /// Adds an operation.
    pub fn op(&mut self, op: Op) -> &mut Self {
        self.write.commit.ops.push(op);
        self
    }

    /// Adds operations.
    pub fn ops(&mut self, ops: impl IntoIterator<Item = Op>) -> &mut Self {
        self.write.commit.ops.extend(ops);
        self
    }

    /// Sets a row.
    pub fn put<K: Key, V: Value>(&mut self, table: &Table<K, V>, key: &K, value: &V) -> &mut Self {
        self.op(table.put(key, value))
    }

    /// Removes a row.
    pub fn delete<K: Key, V: Value>(&mut self, table: &Table<K, V>, key: &K) -> &mut Self {
        self.op(table.delete(key))
    }

    /// Adds a precondition.
    pub fn require(&mut self, precondition: Precondition) -> &mut Self {
        self.write.commit.preconditions.push(precondition);
        self
    }

    /// Adds the parts of another commit.
    pub fn merge(&mut self, commit: Commit) -> &mut Self {
        self.write.commit.preconditions.extend(commit.preconditions);
        self.write.commit.ops.extend(commit.ops);
        self
    }

    /// Sets whom the commit wakes.
    pub fn wake(&mut self, keys: WakeKeys) -> &mut Self {
        self.write.wake = keys;
        self
    }

    /// Runs on the committer's thread when the commit is durable or was dropped, before readers may see it: updates
    /// views in memory, blocks on nothing.
    pub fn on_done(&mut self, f: impl FnOnce(Outcome) + Send + 'static) -> &mut Self {
        self.write.on_done = Some(Box::new(f));
        self
    }

    /// Queues the commit without a stream position.
    pub fn enqueue(self) -> Ticket {
        let Self { db, write } = self;
        db.committer.enqueue(0, |_| write)
    }

    /// Queues the commit and waits until it is durable.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(self) -> Result<(), CommitError> {
        self.enqueue().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{memory::MemoryStore, open_schema};
    use std::sync::atomic::{AtomicU64, Ordering};

    const NUMBERS: Table<(u32, u32), u64> = Table::new(Keyspace::Orders, 9, "numbers");

    fn open(store: &Arc<MemoryStore>) -> Arc<Db> {
        open_schema(&**store, 1, &[]).unwrap();
        Db::open(Arc::clone(store) as Arc<dyn Store>, CommitterOptions::default(), |_| {}).unwrap()
    }

    #[tokio::test]
    async fn positions_go_on_after_a_restart_and_the_frontier_follows_the_commits() {
        let store = Arc::new(MemoryStore::default());
        let db = open(&store);
        for n in 0..5u32 {
            let done = db
                .enqueue_at(2, |pos, mut write| {
                    write.put(&NUMBERS, &(1, n), &pos);
                    write
                })
                .await
                .unwrap();
            assert_eq!(done.pos, u64::from(n) * 2 + 2);
            assert_eq!(db.frontier(), done.pos);
        }
        drop(db);
        let db = open(&store);
        assert_eq!(db.frontier(), 10);
        assert_eq!(db.scan_all(&NUMBERS, &1u32).await.unwrap().len(), 5);
        assert_eq!(db.scan_prefix(&NUMBERS, &1u32, Page::last(1)).await.unwrap(), [((1, 4), 9)]);
    }

    #[tokio::test]
    async fn what_was_not_stepped_is_lost() {
        let store = Arc::new(MemoryStore::default());
        open_schema(&*store, 1, &[]).unwrap();
        let (db, mut stepper) = Db::open_stepped(Arc::clone(&store) as Arc<dyn Store>).unwrap();
        let put = |n: u32| {
            let mut write = db.write();
            write.put(&NUMBERS, &(3, n), &1);
            write.enqueue()
        };
        let first = put(1);
        stepper.queued().await;
        assert!(stepper.step());
        first.await.unwrap();
        let second = put(2);
        drop(stepper);
        assert!(matches!(second.await, Err(CommitError::Unknown(_))));
        assert!(matches!(put(3).await, Err(CommitError::Stopped)));
        assert_eq!(open(&store).scan_all(&NUMBERS, &3u32).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn of_two_conflicting_commits_one_lands_and_the_hole_is_passed() {
        let db = open(&Arc::new(MemoryStore::default()));
        let done = Arc::new(AtomicU64::new(0));
        let once = |value: u64| {
            let done = Arc::clone(&done);
            db.enqueue_at(1, move |_, mut write| {
                write.require(NUMBERS.absent(&(1, 1))).put(&NUMBERS, &(1, 1), &value).on_done(move |outcome| {
                    if outcome == Outcome::Done {
                        done.fetch_add(value, Ordering::SeqCst);
                    }
                });
                write
            })
        };
        let (first, second) = (once(7), once(8));
        assert!(first.await.is_ok());
        assert!(matches!(second.await, Err(CommitError::Conflict)));
        assert_eq!((db.frontier(), done.load(Ordering::SeqCst)), (2, 7));
        assert_eq!(db.get(&NUMBERS, &(1, 1)).await.unwrap(), Some(7));
    }

    #[tokio::test]
    async fn after_a_failed_write_everybody_gets_an_error_and_nothing_more_is_taken() {
        let store = Arc::new(MemoryStore::default());
        open_schema(&*store, 1, &[]).unwrap();
        let fatal = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&fatal);
        let db = Db::open(Arc::clone(&store) as Arc<dyn Store>, CommitterOptions::default(), move |_| {
            seen.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        store.fail_writes();
        let put = |n: u32| {
            let mut write = db.write();
            write.put(&NUMBERS, &(2, n), &1);
            write.enqueue()
        };
        let first = put(1);
        assert!(matches!(first.await, Err(CommitError::Unknown(_) | CommitError::Stopped)));
        assert!(matches!(put(2).await, Err(CommitError::Stopped)));
        assert_eq!(db.get(&NUMBERS, &(2, 1)).await.unwrap(), None);
        db.shutdown();
        assert_eq!(fatal.load(Ordering::SeqCst), 1);
    }
}
