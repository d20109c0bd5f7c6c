//! The embedded backend passes the suite that every backend passes, with rows in memory and with rows on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use store::Store;
use store_rocksdb::{RocksDbOptions, RocksDbStore};

fn options(folder: &tempfile::TempDir) -> RocksDbOptions {
    RocksDbOptions {
        sync: false,
        ..RocksDbOptions::new(folder.path().join("data"))
    }
}

#[tokio::test]
async fn passes_the_conformance_suite() {
    let folders = parking_lot::Mutex::new(Vec::new());
    store::conformance::run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let store = RocksDbStore::open(&options(&folder)).unwrap();
        folders.lock().push(folder);
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}
