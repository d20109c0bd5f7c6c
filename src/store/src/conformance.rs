//! The suite that every backend passes. A backend's test calls [`run`] with a way to open an empty store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::{collections::BTreeMap, future::Future, sync::Arc};

use bytes::Bytes;

use crate::traits::{Commit, Keyspace, Op, Outcome, Precondition, Scan, Store};

/// Runs all cases, each on a store that `open` makes.
pub async fn run<F, Fut>(open: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    reads_what_was_written(&*open().await).await;
    scans_in_byte_order(&*open().await).await;
    conflicting_commits_leave_nothing(&*open().await).await;
    later_commits_see_earlier_ones(&*open().await).await;
    range_deletes(&*open().await).await;
    behaves_like_a_map(&*open().await).await;
}

fn key(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(keyspace: Keyspace, k: &str, v: &str) -> Op {
    Op::Put(keyspace, key(k), key(v))
}

fn ops(ops: Vec<Op>) -> Commit {
    Commit { preconditions: Vec::new(), ops }
}

async fn rows(store: &dyn Store, keyspace: Keyspace, limit: usize, reverse: bool) -> Vec<String> {
    let scan = Scan { keyspace, from: Bytes::new(), to: Bytes::from_static(&[0xff; 8]), limit, reverse };
    let rows = store.scan(&scan).await.unwrap();
    rows.into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect()
}

async fn reads_what_was_written(store: &dyn Store) {
    let group = [ops(Keyspace::ALL.map(|keyspace| put(keyspace, "k", keyspace.name())).to_vec())];
    assert_eq!(store.commit_group(&group).unwrap(), [Outcome::Done]);
    for keyspace in Keyspace::ALL {
        assert_eq!(store.get(keyspace, b"k").await.unwrap().unwrap(), keyspace.name());
        assert_eq!(store.get_blocking(keyspace, b"k").unwrap().unwrap(), keyspace.name());
        assert_eq!(store.get(keyspace, b"other").await.unwrap(), None);
    }
    let wanted = [
        (Keyspace::Index, key("k")),
        (Keyspace::Events, key("none")),
        (Keyspace::Events, key("k")),
        (Keyspace::Index, key("k")),
    ];
    let found = store.multi_get(&wanted).await.unwrap();
    assert_eq!(found, [Some(key("index")), None, Some(key("events")), Some(key("index"))]);
    // An empty value is a value.
    store.commit_group(&[ops(vec![put(Keyspace::State, "empty", "")])]).unwrap();
    assert_eq!(store.get(Keyspace::State, b"empty").await.unwrap(), Some(Bytes::new()));
}

async fn scans_in_byte_order(store: &dyn Store) {
    let group = [ops(["b", "a\u{ff}", "a", "ab", "c"].iter().map(|k| put(Keyspace::Orders, k, "v")).collect())];
    store.commit_group(&group).unwrap();
    assert_eq!(rows(store, Keyspace::Orders, 9, false).await, ["a", "ab", "a\u{ff}", "b", "c"]);
    assert_eq!(rows(store, Keyspace::Orders, 2, true).await, ["c", "b"]);
    assert_eq!(rows(store, Keyspace::Orders, 0, false).await, [""; 0]);
    let scan = |from: &str, to: &str, reverse| Scan {
        keyspace: Keyspace::Orders,
        from: key(from),
        to: key(to),
        limit: 9,
        reverse,
    };
    let half_open = store.scan(&scan("a", "b", true)).await.unwrap();
    assert_eq!(half_open.first().unwrap().0, "a\u{ff}");
    assert_eq!(half_open.len(), 3);
    assert!(store.scan(&scan("c", "a", false)).await.unwrap().is_empty());
    assert!(store.scan(&scan("c", "a", true)).await.unwrap().is_empty());
}

async fn conflicting_commits_leave_nothing(store: &dyn Store) {
    store.commit_group(&[ops(vec![put(Keyspace::Index, "x", "1")])]).unwrap();
    let refused = Commit {
        preconditions: vec![
            Precondition::Equals(Keyspace::Index, key("x"), key("1")),
            Precondition::Absent(Keyspace::Index, key("x")),
        ],
        ops: vec![put(Keyspace::Index, "x", "2"), put(Keyspace::Events, "y", "2")],
    };
    let fine = Commit {
        preconditions: vec![
            Precondition::Equals(Keyspace::Index, key("x"), key("1")),
            Precondition::Absent(Keyspace::Events, key("x")),
        ],
        ops: vec![put(Keyspace::Index, "z", "3")],
    };
    let stale = Commit {
        preconditions: vec![Precondition::Equals(Keyspace::Index, key("x"), key("0"))],
        ops: vec![put(Keyspace::Index, "x", "4")],
    };
    let outcomes = store.commit_group(&[refused, fine, stale]).unwrap();
    assert_eq!(outcomes, [Outcome::Conflict, Outcome::Done, Outcome::Conflict]);
    assert_eq!(rows(store, Keyspace::Index, 9, false).await, ["x", "z"]);
    assert_eq!(rows(store, Keyspace::Events, 9, false).await, [""; 0]);
    assert_eq!(store.get(Keyspace::Index, b"x").await.unwrap().unwrap(), "1");
}

async fn later_commits_see_earlier_ones(store: &dyn Store) {
    let step = |from: Option<&str>, to: &str| Commit {
        preconditions: vec![match from {
            Some(from) => Precondition::Equals(Keyspace::State, key("head"), key(from)),
            None => Precondition::Absent(Keyspace::State, key("head")),
        }],
        ops: vec![put(Keyspace::State, "head", to), put(Keyspace::Orders, to, "")],
    };
    let group = [
        step(None, "1"),
        step(Some("1"), "2"),
        step(Some("1"), "lost"),
        step(Some("lost"), "too"),
        step(Some("2"), "3"),
    ];
    let outcomes = store.commit_group(&group).unwrap();
    let (done, conflict) = (Outcome::Done, Outcome::Conflict);
    assert_eq!(outcomes, [done, done, conflict, conflict, done]);
    assert_eq!(store.get(Keyspace::State, b"head").await.unwrap().unwrap(), "3");
    assert_eq!(rows(store, Keyspace::Orders, 9, false).await, ["1", "2", "3"]);
}

async fn range_deletes(store: &dyn Store) {
    store.commit_group(&[ops(["a", "b", "c", "d"].iter().map(|k| put(Keyspace::Index, k, k)).collect())]).unwrap();
    let purge = ops(vec![
        Op::DeleteRange(Keyspace::Index, key("b"), key("d")),
        put(Keyspace::Index, "c", "again"),
        Op::Delete(Keyspace::Index, key("never")),
        Op::DeleteRange(Keyspace::Index, key("z"), key("a")),
    ]);
    let sees = Commit {
        preconditions: vec![
            Precondition::Absent(Keyspace::Index, key("b")),
            Precondition::Equals(Keyspace::Index, key("c"), key("again")),
            Precondition::Equals(Keyspace::Index, key("d"), key("d")),
        ],
        ops: vec![put(Keyspace::Index, "seen", "")],
    };
    assert_eq!(store.commit_group(&[purge, sees]).unwrap(), [Outcome::Done; 2]);
    assert_eq!(rows(store, Keyspace::Index, 9, false).await, ["a", "c", "d", "seen"]);
}

/// A few thousand operations by a fixed generator, compared with a plain map after every group.
async fn behaves_like_a_map(store: &dyn Store) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut model: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    for round in 0..200 {
        let mut group = Vec::new();
        for _ in 0..=random(4) {
            let mut commit = Commit::default();
            for _ in 0..=random(5) {
                let k = key(&format!("{:03}", random(60)));
                commit.ops.push(match random(8) {
                    0 => Op::Delete(Keyspace::Events, k),
                    1 => Op::DeleteRange(Keyspace::Events, k, key(&format!("{:03}", random(60)))),
                    _ => Op::Put(Keyspace::Events, k, key(&format!("{round}-{}", random(1000)))),
                });
            }
            for op in &commit.ops {
                match op {
                    Op::Put(_, k, v) => drop(model.insert(k.clone(), v.clone())),
                    Op::Delete(_, k) => drop(model.remove(k)),
                    Op::DeleteRange(_, from, to) => model.retain(|k, _| k < from || k >= to),
                }
            }
            group.push(commit);
        }
        store.commit_group(&group).unwrap();
        let scan = Scan {
            keyspace: Keyspace::Events,
            from: Bytes::new(),
            to: Bytes::from_static(b"zzz"),
            limit: 1000,
            reverse: random(2) == 0,
        };
        let mut found = store.scan(&scan).await.unwrap();
        if scan.reverse {
            found.reverse();
        }
        assert!(found.into_iter().eq(model.clone()), "round {round}");
    }
}
