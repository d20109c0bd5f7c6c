//! Bugs that are planted on purpose, between the parts that ship: what is not found here would not be found there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use engine::{EventNum, Projector, RoomNum};
use expenses::LedgerIndex;
use federation::{
    Call,
    testing::{Disk, Meddler, TestServer, WorldOptions},
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use room::Pdu;
use ruma::ServerName;
use serde_json::Value;
use store::{Commit, Keyspace, MemoryStore, Op, Outcome, Row, Scan, Store, StoreError};

/// What the servers of a world are made of.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) projector: Arc<dyn Projector>,
    pub(crate) disk: Disk,
    /// Of every few transactions one event is dropped, and said to be taken.
    pub(crate) drops_events: bool,
}

impl Default for Rig {
    fn default() -> Self {
        let disk = WorldOptions::default().disk;
        Self { projector: Arc::new(LedgerIndex), disk, drops_events: false }
    }
}

impl Rig {
    /// An index that loses some entries of others.
    pub(crate) fn forgetful_index() -> Self {
        Self { projector: Arc::new(Forgetful), ..Self::default() }
    }

    /// A disk that says that something is durable before it is.
    pub(crate) fn hasty_disk() -> Self {
        let disk = |kept: &Arc<MemoryStore>| -> Arc<dyn Store> { Arc::new(Hasty::new(kept)) };
        Self { disk: Arc::new(disk), ..Self::default() }
    }

    /// A disk that loses a row now and then.
    pub(crate) fn lossy_disk() -> Self {
        let written = Arc::new(AtomicU64::new(0));
        let disk = move |kept: &Arc<MemoryStore>| -> Arc<dyn Store> {
            Arc::new(Lossy { kept: Arc::clone(kept), written: Arc::clone(&written) })
        };
        Self { disk: Arc::new(disk), ..Self::default() }
    }

    /// What changes calls on their way, where something does.
    pub(crate) fn meddler(&self, servers: BTreeMap<String, Arc<TestServer>>) -> Option<Meddler> {
        let dropping = self.drops_events.then(|| Dropping { servers, sent: AtomicU64::new(0) })?;
        Some(Arc::new(move |from, call| dropping.call(from, call)))
    }
}

struct Forgetful;

impl Projector for Forgetful {
    fn project(&self, room: RoomNum, num: EventNum, event: &Pdu) -> Vec<Op> {
        if event.sender.as_str().ends_with(":s2") && num.is_multiple_of(3) {
            Vec::new()
        } else {
            LedgerIndex.project(room, num, event)
        }
    }
}

/// Groups of commits that a [`Hasty`] disk has in its cache.
const CACHED: usize = 8;

struct Hasty {
    kept: Arc<MemoryStore>,
    seen: MemoryStore,
    cached: Mutex<Vec<Vec<Commit>>>,
}

impl Hasty {
    fn new(kept: &Arc<MemoryStore>) -> Self {
        let seen = MemoryStore::default();
        let rows = rows(kept).into_iter().map(|(keyspace, key, value)| Op::Put(keyspace, key, value)).collect();
        seen.commit_group(&[Commit { ops: rows, ..Commit::default() }]).unwrap();
        Self { kept: Arc::clone(kept), seen, cached: Mutex::default() }
    }
}

/// All rows of a store, in their order.
pub(crate) fn rows(store: &MemoryStore) -> Vec<(Keyspace, Bytes, Bytes)> {
    let of = |keyspace| {
        let (from, to) = (Bytes::new(), Bytes::from_static(&[0xff; 64]));
        let scan = Scan { keyspace, from, to, limit: usize::MAX, reverse: false };
        let rows = futures::executor::block_on(store.scan(&scan)).unwrap();
        rows.into_iter().map(move |(key, value)| (keyspace, key, value))
    };
    Keyspace::ALL.into_iter().flat_map(of).collect()
}

impl Store for Hasty {
    fn get<'a>(&'a self, keyspace: Keyspace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.seen.get(keyspace, key)
    }

    fn multi_get<'a>(&'a self, keys: &'a [(Keyspace, Bytes)]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        self.seen.multi_get(keys)
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        self.seen.scan(scan)
    }

    fn commit_group(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let mut cached = self.cached.lock();
        cached.push(group.to_vec());
        if cached.len() > CACHED {
            self.kept.commit_group(&cached.remove(0))?;
        }
        self.seen.commit_group(group)
    }

    fn get_blocking(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.seen.get_blocking(keyspace, key)
    }
}

/// One row in so many is lost.
const LOST: u64 = 400;

struct Lossy {
    kept: Arc<MemoryStore>,
    written: Arc<AtomicU64>,
}

impl Store for Lossy {
    fn get<'a>(&'a self, keyspace: Keyspace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.kept.get(keyspace, key)
    }

    fn multi_get<'a>(&'a self, keys: &'a [(Keyspace, Bytes)]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        self.kept.multi_get(keys)
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        self.kept.scan(scan)
    }

    fn commit_group(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let mut group = group.to_vec();
        for commit in &mut group {
            commit.ops.retain(|op| {
                let counts = matches!(op, Op::Put(Keyspace::Orders | Keyspace::Events, ..));
                !counts || !(self.written.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(LOST)
            });
        }
        self.kept.commit_group(&group)
    }

    fn get_blocking(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.kept.get_blocking(keyspace, key)
    }
}

/// One event of every so many transactions is dropped.
const DROPPED: u64 = 3;

/// The receiving server is told less than was sent, and its answer is the one that the sender expects: as if it took what it did not.
struct Dropping {
    servers: BTreeMap<String, Arc<TestServer>>,
    sent: AtomicU64,
}

impl Dropping {
    fn call(&self, from: &ServerName, mut call: Call) -> Call {
        let sender = self.servers.get(from.as_str()).filter(|server| server.is_up());
        let (Some(sender), true) = (sender, call.target.starts_with("/_matrix/federation/v1/send/")) else {
            return call;
        };
        let nth = self.sent.fetch_add(1, Ordering::Relaxed);
        let mut body: Value = serde_json::from_slice(&call.body).unwrap();
        let pdus = body["pdus"].as_array_mut().unwrap();
        if !nth.is_multiple_of(DROPPED) || pdus.is_empty() {
            return call;
        }
        let gone = usize::try_from(nth / DROPPED).unwrap() % pdus.len();
        pdus.remove(gone);
        call.body = body.to_string().into();
        sender.signed(call)
    }
}
