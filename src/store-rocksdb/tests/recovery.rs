//! What a store finds when it is opened again: after a drop, after a crash, after damage.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use store::{Commit, Keyspace, Op, Store};
use store_rocksdb::{BackupError, OpenError, RocksDbOptions, RocksDbStore};

const ROWS: u32 = 200;

fn key(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

fn put(store: &RocksDbStore, n: u32, value: &[u8]) {
    let ops = vec![
        Op::Put(Keyspace::Events, key(n), Bytes::copy_from_slice(value)),
        Op::Put(Keyspace::Orders, key(n), Bytes::new()),
    ];
    store.commit_group(&[Commit { ops, ..Commit::default() }]).unwrap();
}

/// Whole rows from the first one on; fails where a later one is there without an earlier one, or half of one.
fn prefix(store: &RocksDbStore) -> u32 {
    let there = |n| {
        let event = store.get_blocking(Keyspace::Events, &key(n)).unwrap();
        let order = store.get_blocking(Keyspace::Orders, &key(n)).unwrap();
        assert_eq!(event.is_some(), order.is_some(), "half of commit {n}");
        event.is_some()
    };
    let count = (0..ROWS).take_while(|n| there(*n)).count() as u32;
    assert!(!(count..ROWS).any(there), "a hole at {count}");
    count
}

/// A folder as a killed process leaves it: rows in the log only, taken while the store is open.
fn crashed(folder: &Path, value: usize) -> (RocksDbOptions, PathBuf) {
    let live = RocksDbOptions::new(folder.join("live"));
    let store = RocksDbStore::open(&live).unwrap();
    for n in 0..ROWS {
        put(&store, n, &vec![b'v'; value]);
    }
    let copy = folder.join("crashed");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&live.path).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let log = last_log(&copy);
    (RocksDbOptions { path: copy, ..live }, log)
}

fn last_log(folder: &Path) -> PathBuf {
    let logs = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    logs.filter(|path| path.extension().is_some_and(|end| end == "log")).max().unwrap()
}

#[test]
fn a_reopened_store_has_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let options = RocksDbOptions::new(folder.path().join("not/yet/there"));
    for round in 0..3 {
        let store = RocksDbStore::open(&options).unwrap();
        assert_eq!(prefix(&store), round * 10);
        for n in round * 10..(round + 1) * 10 {
            put(&store, n, b"v");
        }
        if round == 1 {
            store.flush().unwrap();
        }
    }
}

#[test]
fn a_second_store_on_a_folder_is_refused_until_the_first_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let options = RocksDbOptions::new(folder.path());
    let first = RocksDbStore::open(&options).unwrap();
    assert!(matches!(RocksDbStore::open(&options), Err(OpenError::AlreadyOpen(path)) if path == folder.path()));
    drop(first);
    RocksDbStore::open(&options).unwrap();
}

#[test]
fn a_folder_that_cannot_be_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(RocksDbStore::open(&RocksDbOptions::new(&file)), Err(OpenError::Folder { .. })));
    assert!(matches!(RocksDbStore::open(&RocksDbOptions::new(file.join("sub"))), Err(OpenError::Folder { .. })));
}

#[test]
fn a_killed_store_replays_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let (options, _) = crashed(folder.path(), 600);
    assert_eq!(prefix(&RocksDbStore::open(&options).unwrap()), ROWS);
}

#[test]
fn a_torn_end_of_the_log_costs_the_last_commit_only() {
    let folder = tempfile::tempdir().unwrap();
    let (options, log) = crashed(folder.path(), 600);
    let length = fs::metadata(&log).unwrap().len();
    OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 5).unwrap();
    assert_eq!(prefix(&RocksDbStore::open(&options).unwrap()), ROWS - 1);
    // And once more: the shortened log is now an old one.
    assert_eq!(prefix(&RocksDbStore::open(&options).unwrap()), ROWS - 1);
}

#[test]
fn a_garbled_end_of_the_log_costs_the_last_commit_only() {
    for patch in [&[0xa5_u8; 40], &[0; 40]] {
        let folder = tempfile::tempdir().unwrap();
        let (options, log) = crashed(folder.path(), 600);
        let length = fs::metadata(&log).unwrap().len();
        OpenOptions::new().write(true).open(&log).unwrap().write_at(patch, length - 100).unwrap();
        assert_eq!(prefix(&RocksDbStore::open(&options).unwrap()), ROWS - 1);
    }
}

#[test]
fn damage_before_whole_commits_is_refused() {
    // Garbage as from a bad disk, and zeros as from a page that never reached it.
    for patch in [&[0xa5_u8; 4096], &[0; 4096]] {
        let folder = tempfile::tempdir().unwrap();
        let (options, log) = crashed(folder.path(), 600);
        let length = fs::metadata(&log).unwrap().len();
        let middle = length / 2 / 4096 * 4096;
        OpenOptions::new().write(true).open(&log).unwrap().write_at(patch, middle).unwrap();
        match RocksDbStore::open(&options) {
            Err(OpenError::Damaged { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(store) => panic!("opened with {} rows of {ROWS}", prefix(&store)),
        }
    }
}

#[test]
fn zeros_in_place_of_a_commit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (options, log) = crashed(folder.path(), 600);
    let bytes = fs::read(&log).unwrap();
    // Frames have a header of seven bytes, with the length of what follows in the fifth and sixth. A block of 32 KiB begins
    // with a frame; in the last one nothing else tells that something is gone.
    let end = |at: usize| at + 7 + usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
    let second = end(bytes.len() / 32_768 * 32_768);
    assert!(end(second) < bytes.len());
    let file = OpenOptions::new().write(true).open(&log).unwrap();
    file.write_at(&vec![0; end(second) - second], second as u64).unwrap();
    assert!(matches!(RocksDbStore::open(&options), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_missing_table_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = RocksDbOptions::new(folder.path());
    let store = RocksDbStore::open(&options).unwrap();
    put(&store, 0, b"v");
    store.flush().unwrap();
    drop(store);
    let mut files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    fs::remove_file(files.find(|path| path.extension().is_some_and(|end| end == "sst")).unwrap()).unwrap();
    assert!(matches!(RocksDbStore::open(&options), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_checkpoint_is_a_store_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksDbStore::open(&RocksDbOptions::new(folder.path().join("data"))).unwrap();
    for n in 0..50 {
        put(&store, n, b"v");
    }
    let backup = folder.path().join("backup");
    store.checkpoint(&backup).unwrap();
    put(&store, 50, b"later");
    assert!(matches!(store.checkpoint(&backup), Err(BackupError::Exists(_))));
    drop(store);
    let copy = RocksDbStore::open(&RocksDbOptions::new(&backup)).unwrap();
    assert_eq!(prefix(&copy), 50);
}
