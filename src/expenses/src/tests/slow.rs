//! A store that can be slow to say that a write is done.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use store::{Commit, Keyspace, MemoryStore, Outcome, Row, Scan, Store, StoreError};

/// The in-memory store, whose rows can be seen for a while before the write returns.
#[derive(Debug, Default)]
pub(super) struct SlowStore {
    rows: MemoryStore,
    linger_ms: AtomicU64,
}

impl SlowStore {
    /// How long a write takes once its rows are there.
    pub(super) fn linger(&self, ms: u64) {
        self.linger_ms.store(ms, Ordering::SeqCst);
    }
}

impl Store for SlowStore {
    fn get<'a>(&'a self, keyspace: Keyspace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.rows.get(keyspace, key)
    }

    fn multi_get<'a>(&'a self, keys: &'a [(Keyspace, Bytes)]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        self.rows.multi_get(keys)
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        self.rows.scan(scan)
    }

    fn commit_group(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let outcomes = self.rows.commit_group(group);
        std::thread::sleep(std::time::Duration::from_millis(self.linger_ms.load(Ordering::SeqCst)));
        outcomes
    }

    fn get_blocking(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.rows.get_blocking(keyspace, key)
    }
}
