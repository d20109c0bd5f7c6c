//! The embedded backend passes the suite that every backend passes, with rows in memtables and with rows in files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use store::{Commit, Keyspace, Op, Outcome, Row, Scan, Store, StoreError};
use store_rocksdb::{RocksDbOptions, RocksDbStore};

fn options(folder: &tempfile::TempDir) -> RocksDbOptions {
    RocksDbOptions { sync: false, ..RocksDbOptions::new(folder.path().join("data")) }
}

async fn conforms<S: Store>(wrap: impl Fn(RocksDbStore) -> S) {
    let folders = Mutex::new(Vec::new());
    store::conformance::run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let store = RocksDbStore::open(&options(&folder)).unwrap();
        folders.lock().push(folder);
        Arc::new(wrap(store)) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn passes_with_rows_in_memory() {
    conforms(|store| store).await;
}

#[tokio::test]
async fn passes_with_rows_in_files() {
    conforms(Flushing).await;
}

/// Writes every group out to table files.
struct Flushing(RocksDbStore);

impl Store for Flushing {
    fn get<'a>(&'a self, keyspace: Keyspace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.0.get(keyspace, key)
    }
    fn multi_get<'a>(&'a self, keys: &'a [(Keyspace, Bytes)]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        self.0.multi_get(keys)
    }
    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        self.0.scan(scan)
    }
    fn commit_group(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let outcomes = self.0.commit_group(group);
        self.0.flush().unwrap();
        outcomes
    }
    fn get_blocking(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get_blocking(keyspace, key)
    }
}

const ROWS: u32 = 2_000;

fn key(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

/// A store whose rows are on disk and none of them in the cache.
fn cold(folder: &tempfile::TempDir) -> RocksDbStore {
    let store = RocksDbStore::open(&options(folder)).unwrap();
    let row = |keyspace, n| Op::Put(keyspace, key(n), Bytes::from(vec![n as u8; 300]));
    let ops = (0..ROWS).flat_map(|n| [row(Keyspace::Events, n), row(Keyspace::Orders, n)]).collect();
    store.commit_group(&[Commit { ops, ..Commit::default() }]).unwrap();
    store.flush().unwrap();
    drop(store);
    RocksDbStore::open(&options(folder)).unwrap()
}

fn all(reverse: bool) -> Scan {
    Scan { keyspace: Keyspace::Orders, from: key(0), to: key(ROWS), limit: ROWS as usize, reverse }
}

#[test]
fn what_is_not_in_memory_is_read_off_the_async_thread() {
    let folder = tempfile::tempdir().unwrap();
    let store = cold(&folder);
    let (first, last) = (key(0), key(ROWS - 1));
    // One key of the batch is in a keyspace without rows.
    let wanted = [(Keyspace::Events, last), (Keyspace::Index, first.clone()), (Keyspace::Events, first.clone())];
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        // With the only blocking thread held up, nothing can come from the disk.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || held.recv().is_err());
        assert!(store.get(Keyspace::Events, &first).now_or_never().is_none());
        let early = store.multi_get(&wanted).now_or_never();
        assert!(early.is_none(), "{:?}", early);
        assert!(store.scan(&all(false)).now_or_never().is_none());
        // Where there are no files, there is nothing to read from them.
        assert_eq!(store.get(Keyspace::Index, &first).now_or_never().unwrap().unwrap(), None);
        drop(release);
        assert!(busy.await.unwrap());

        assert_eq!(store.get(Keyspace::Events, &first).await.unwrap().unwrap()[..], [0; 300]);
        let found = store.multi_get(&wanted).await.unwrap();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
        let rows = store.scan(&all(false)).await.unwrap();
        assert_eq!(rows.len(), ROWS as usize);

        // Now all of it is in memory.
        assert!(store.get(Keyspace::Events, &first).now_or_never().is_some());
        assert_eq!(store.multi_get(&wanted).now_or_never().unwrap().unwrap(), found);
        let mut backwards = store.scan(&all(true)).now_or_never().unwrap().unwrap();
        backwards.reverse();
        assert_eq!(rows, backwards);
    });
}

#[test]
fn reads_work_without_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let store = cold(&folder);
    assert!(store.get(Keyspace::Events, &key(7)).now_or_never().unwrap().unwrap().is_some());
    let wanted = [(Keyspace::Events, key(1_000)), (Keyspace::Orders, key(1_000))];
    let found = store.multi_get(&wanted).now_or_never().unwrap().unwrap();
    assert!(found.iter().all(Option::is_some));
    assert_eq!(store.scan(&all(true)).now_or_never().unwrap().unwrap().len(), ROWS as usize);
}

#[test]
fn usage_tells_where_the_bytes_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksDbStore::open(&options(&folder)).unwrap();
    let empty = store.usage().unwrap();
    let ops = vec![Op::Put(Keyspace::Events, key(1), Bytes::from(vec![7; 300_000]))];
    store.commit_group(&[Commit { ops, ..Commit::default() }]).unwrap();
    let written = store.usage().unwrap();
    assert!(written.memtable_bytes >= empty.memtable_bytes + 300_000);
    assert_eq!(written.table_bytes, 0);
    store.flush().unwrap();
    let flushed = store.usage().unwrap();
    assert!(flushed.memtable_bytes < 300_000 && flushed.table_bytes >= 300_000);
    assert!(store.size_on_disk().unwrap() >= 300_000);
    assert_eq!((flushed.background_errors, flushed.write_stalled), (0, false));
}
