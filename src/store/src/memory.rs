use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::RwLock;

use crate::{
    error::StoreError,
    traits::{Commit, Keyspace, Op, Outcome, Row, Scan, Store, check_preconditions},
};

/// A store in memory: for tests, simulation and benchmarks of everything above the store.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: RwLock<[BTreeMap<Bytes, Bytes>; 4]>,
    failing: AtomicBool,
}

impl MemoryStore {
    /// From now on every write fails, as with a full or broken disk.
    pub fn fail_writes(&self) {
        self.failing.store(true, Ordering::Release);
    }

    fn read(&self, keyspace: Keyspace, key: &[u8]) -> Option<Bytes> {
        self.rows.read()[keyspace.index()].get(key).cloned()
    }

    fn read_range(&self, scan: &Scan) -> Vec<Row> {
        if scan.from >= scan.to {
            return Vec::new();
        }
        let rows = self.rows.read();
        let range = rows[scan.keyspace.index()]
            .range::<Bytes, _>((Bound::Included(&scan.from), Bound::Excluded(&scan.to)))
            .map(|(key, value)| (key.clone(), value.clone()));
        if scan.reverse { range.rev().take(scan.limit).collect() } else { range.take(scan.limit).collect() }
    }
}

fn apply(rows: &mut [BTreeMap<Bytes, Bytes>; 4], op: &Op) {
    match op {
        Op::Put(keyspace, key, value) => {
            // Values and keys may be slices of larger buffers: keep our own copies, so that nothing else lives on.
            rows[keyspace.index()].insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        }
        Op::Delete(keyspace, key) => {
            rows[keyspace.index()].remove(key);
        }
        Op::DeleteRange(keyspace, from, to) => {
            if from < to {
                rows[keyspace.index()].retain(|key, _| key < from || key >= to);
            }
        }
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, keyspace: Keyspace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        std::future::ready(Ok(self.read(keyspace, key))).boxed()
    }

    fn multi_get<'a>(&'a self, keys: &'a [(Keyspace, Bytes)]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        std::future::ready(Ok(keys.iter().map(|(keyspace, key)| self.read(*keyspace, key)).collect())).boxed()
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        std::future::ready(Ok(self.read_range(scan))).boxed()
    }

    fn commit_group(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        if self.failing.load(Ordering::Acquire) {
            return Err(StoreError::Backend("write failed".to_owned()));
        }
        let mut rows = self.rows.write();
        let outcomes = check_preconditions(group, |keyspace, key| Ok(rows[keyspace.index()].get(key).cloned()))?;
        for (commit, _) in group.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Done) {
            for op in &commit.ops {
                apply(&mut rows, op);
            }
        }
        Ok(outcomes)
    }

    fn get_blocking(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.read(keyspace, key))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    #[tokio::test]
    async fn passes_the_conformance_suite() {
        crate::conformance::run(|| async { Arc::new(super::MemoryStore::default()) as Arc<dyn crate::Store> }).await;
    }
}
