//! A store in memory that counts which rows are asked for.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Sub,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures::future::BoxFuture;
use store::{Commit, Keyspace, MemoryStore, Op, Outcome, Row, Scan, Store, StoreError};

/// The first bytes of the keys of the tables that are told apart: they stand in the engine's list of tables.
const EVENTS: u8 = 1;
const NODES: u8 = 3;
const CITED: u8 = 7;
const EVENT_IDS: u8 = 8;

/// Rows asked for: keys looked up and rows that ranges gave.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    /// Nodes of state trees.
    pub nodes: u64,
    /// Events.
    pub events: u64,
    /// Rows of auth chains: numbers of cited events, and who cites an event.
    pub chains: u64,
    /// All others.
    pub others: u64,
}

impl Reads {
    pub fn sum(self) -> u64 {
        self.nodes + self.events + self.chains + self.others
    }
}

impl Sub for Reads {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            nodes: self.nodes - earlier.nodes,
            events: self.events - earlier.events,
            chains: self.chains - earlier.chains,
            others: self.others - earlier.others,
        }
    }
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8} nodes {:>8} events {:>8} auth chain rows {:>8} others",
            self.nodes, self.events, self.chains, self.others
        )
    }
}

#[derive(Default)]
pub struct CountedStore {
    below: MemoryStore,
    rows: [[AtomicU64; 32]; 4],
}

impl CountedStore {
    pub fn reads(&self) -> Reads {
        let all: BTreeMap<(Keyspace, u8), u64> = Keyspace::ALL
            .into_iter()
            .flat_map(|space| (0..32).map(move |table| (space, table)))
            .map(|(space, table)| ((space, table), self.rows[space.index()][usize::from(table)].load(Relaxed)))
            .collect();
        let of = |space, table| all[&(space, table)];
        let mut reads = Reads {
            nodes: of(Keyspace::State, NODES),
            events: of(Keyspace::Events, EVENTS),
            chains: of(Keyspace::Orders, CITED) + of(Keyspace::Index, EVENT_IDS),
            others: 0,
        };
        reads.others = all.values().sum::<u64>() - reads.sum();
        reads
    }

    fn count(&self, keyspace: Keyspace, key: &[u8], rows: usize) {
        let table = usize::from(key.first().copied().unwrap_or_default()).min(31);
        self.rows[keyspace.index()][table].fetch_add(rows as u64, Relaxed);
    }

    /// The same rows once more, nothing counted yet.
    pub fn copy(&self) -> Arc<Self> {
        let copy = Self::default();
        for keyspace in Keyspace::ALL {
            let scan = Scan {
                keyspace,
                from: Bytes::new(),
                to: Bytes::from_static(&[0xff; 8]),
                limit: usize::MAX,
                reverse: false,
            };
            let rows = futures::executor::block_on(self.below.scan(&scan)).unwrap();
            let ops = rows.into_iter().map(|(key, value)| Op::Put(keyspace, key, value)).collect();
            copy.below.commit_group(&[Commit { preconditions: Vec::new(), ops }]).unwrap();
        }
        Arc::new(copy)
    }
}

impl Store for CountedStore {
    fn get<'a>(&'a self, keyspace: Keyspace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.count(keyspace, key, 1);
        self.below.get(keyspace, key)
    }

    fn multi_get<'a>(&'a self, keys: &'a [(Keyspace, Bytes)]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        for (keyspace, key) in keys {
            self.count(*keyspace, key, 1);
        }
        self.below.multi_get(keys)
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            let rows = self.below.scan(scan).await?;
            // A range without rows is a read as well.
            self.count(scan.keyspace, &scan.from, rows.len().max(1));
            Ok(rows)
        })
    }

    fn commit_group(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        self.below.commit_group(group)
    }

    fn get_blocking(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.below.get_blocking(keyspace, key)
    }
}
