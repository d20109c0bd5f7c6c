//! Writes that fail, and syncs that are counted: in a process of its own, under a file size limit or under strace.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

use bytes::Bytes;
use store::{Commit, Keyspace, Op, Outcome, Store, StoreError};
use store_rocksdb::{RocksDbOptions, RocksDbStore};

const FOLDER: &str = "STORE_FAULTS_FOLDER";
const SYNC: &str = "STORE_FAULTS_SYNC";
const GROUPS: &str = "STORE_FAULTS_GROUPS";
const VALUE: usize = 64 * 1024;

fn group(n: u64) -> [Commit; 2] {
    let row = |keyspace, value| Op::Put(keyspace, Bytes::copy_from_slice(&n.to_be_bytes()), value);
    let event = Commit { ops: vec![row(Keyspace::Events, Bytes::from(vec![b'v'; VALUE]))], ..Commit::default() };
    [event, Commit { ops: vec![row(Keyspace::Orders, Bytes::new())], ..Commit::default() }]
}

/// Writes groups until one fails or there are enough, and prints how many were acknowledged.
#[test]
#[ignore = "the other tests run it in a process of its own"]
fn writer() {
    let path = env::var(FOLDER).unwrap();
    let options = RocksDbOptions { sync: env::var(SYNC).unwrap() == "true", ..RocksDbOptions::new(path) };
    let groups: u64 = env::var(GROUPS).unwrap().parse().unwrap();
    let store = RocksDbStore::open(&options).unwrap();
    for n in 0..groups {
        match store.commit_group(&group(n)) {
            Ok(outcomes) => assert_eq!(outcomes, [Outcome::Done; 2]),
            Err(error) => {
                assert!(matches!(error, StoreError::Backend(_)), "{error}");
                assert!(matches!(store.commit_group(&group(n + 1)), Err(StoreError::Stopped)));
                // What was acknowledged can still be read, what failed cannot.
                let read = |n: u64| store.get_blocking(Keyspace::Events, &n.to_be_bytes()).unwrap();
                assert_eq!(read(n - 1).unwrap().len(), VALUE);
                assert_eq!(read(n), None);
                println!("\nfailed after {n} acknowledged");
                return;
            }
        }
    }
    println!("\nall {groups} acknowledged");
}

fn run_writer(prefix: &[&str], folder: &Path, sync: bool, groups: u64) -> Output {
    let mut words = prefix.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    words.push(env::current_exe().unwrap().display().to_string());
    words.extend(["--ignored", "--exact", "writer", "--nocapture"].map(str::to_owned));
    let output = Command::new(&words[0])
        .args(&words[1..])
        .env(FOLDER, folder)
        .env(SYNC, sync.to_string())
        .env(GROUPS, groups.to_string())
        .output()
        .unwrap_or_else(|error| panic!("{} is needed to run this test: {error}", words[0]));
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn acknowledged_before_failure(output: &Output) -> u64 {
    let text = text(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("failed after "));
    line.unwrap_or_else(|| panic!("nothing failed: {text}")).split(' ').next().unwrap().parse().unwrap()
}

/// Every acknowledged group is there, and none by halves.
fn check_rows(folder: &Path, acknowledged: u64) {
    let store = RocksDbStore::open(&RocksDbOptions::new(folder)).unwrap();
    let there = |keyspace, n: u64| store.get_blocking(keyspace, &n.to_be_bytes()).unwrap().is_some();
    for n in 0..acknowledged + 3 {
        assert_eq!(there(Keyspace::Events, n), there(Keyspace::Orders, n), "half of group {n}");
        assert!(n >= acknowledged || there(Keyspace::Events, n), "group {n} of {acknowledged} is lost");
    }
    assert_eq!(store.commit_group(&group(acknowledged)).unwrap(), [Outcome::Done; 2]);
}

#[test]
fn a_log_that_cannot_grow_stops_the_store_and_keeps_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    // In 512-byte blocks: 2 MiB. The signal is ignored, so that the write fails instead of killing.
    let limited = r#"trap "" XFSZ; ulimit -f 4096; exec "$0" "$@""#;
    let output = run_writer(&["sh", "-c", limited], folder.path(), true, 1_000);
    let acknowledged = acknowledged_before_failure(&output);
    assert!((1..=64).contains(&acknowledged), "{acknowledged}");
    check_rows(folder.path(), acknowledged);
}

/// Lines of fdatasync on log files.
fn log_syncs(trace: &Path) -> Vec<String> {
    let trace = fs::read_to_string(trace).unwrap();
    trace.lines().filter(|line| line.contains("sync(") && line.contains(".log>")).map(str::to_owned).collect()
}

fn strace(trace: &Path) -> Vec<String> {
    let words = ["strace", "-f", "-y", "-qq", "-e", "trace=fsync,fdatasync,sync_file_range", "-o"];
    words.iter().map(|word| (*word).to_owned()).chain([trace.display().to_string()]).collect()
}

#[test]
fn each_group_is_synced_once_and_with_syncing_off_never() {
    for (sync, groups) in [(true, 40), (false, 40)] {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace");
        let words = strace(&trace);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        run_writer(&words, &folder.path().join("data"), sync, groups);
        let syncs = log_syncs(&trace).iter().filter(|line| line.contains("fdatasync(")).count() as u64;
        assert_eq!(syncs, if sync { groups } else { 0 });
    }
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, data) = (folder.path().join("trace"), folder.path().join("data"));
    let mut words = strace(&trace);
    words.extend(["-e", "inject=fdatasync:error=EIO:when=30+"].map(str::to_owned));
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let output = run_writer(&words, &data, true, 1_000);
    let acknowledged = acknowledged_before_failure(&output);
    let failed = log_syncs(&trace).iter().filter(|line| line.contains("EIO")).count();
    assert_eq!(failed, 1, "{:#?}", log_syncs(&trace));
    check_rows(&data, acknowledged);
}
