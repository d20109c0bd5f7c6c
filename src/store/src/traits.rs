use std::collections::HashMap;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::error::StoreError;

/// A position in the node's durable stream. Positions are given when a commit is enqueued; a commit that is dropped
/// leaves a hole.
pub type Pos = u64;

/// The groups of tables that a backend may keep and tune apart (RocksDB: column families).
///
/// Rows of one keyspace are one ordered space of byte strings; the first byte of a key is its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Keyspace {
    /// Event rows: large values, read by point look-up and in short runs.
    Events,
    /// Orders over events (stream, depth, relations): tiny values, read in ranges.
    Orders,
    /// Room heads, current state, state-tree nodes.
    State,
    /// Everything else: ids, accounts, tokens, transactions, account data, receipts, ledgers.
    Index,
}

impl Keyspace {
    /// All keyspaces, in the order of [`Keyspace::index`].
    pub const ALL: [Self; 4] = [Self::Events, Self::Orders, Self::State, Self::Index];

    /// A dense number for arrays of keyspaces.
    pub const fn index(self) -> usize {
        match self {
            Self::Events => 0,
            Self::Orders => 1,
            Self::State => 2,
            Self::Index => 3,
        }
    }

    /// The stable name, as a backend writes it to disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Orders => "orders",
            Self::State => "state",
            Self::Index => "index",
        }
    }
}

/// One row: key and value.
pub type Row = (Bytes, Bytes);

/// A range to read in order.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Where to look.
    pub keyspace: Keyspace,
    /// First key of the range, inclusive.
    pub from: Bytes,
    /// End of the range, exclusive.
    pub to: Bytes,
    /// At most this many rows.
    pub limit: usize,
    /// Descending from `to` instead of ascending from `from`.
    pub reverse: bool,
}

/// What must hold for a commit to be applied. Checked against the store and the commits before it in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// No row has this key.
    Absent(Keyspace, Bytes),
    /// The row has exactly this value.
    Equals(Keyspace, Bytes, Bytes),
}

/// One change of a commit. Later operations of a commit win over earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets a row.
    Put(Keyspace, Bytes, Bytes),
    /// Removes a row; removing an absent one is no error.
    Delete(Keyspace, Bytes),
    /// Removes all rows of the range, `to` exclusive.
    DeleteRange(Keyspace, Bytes, Bytes),
}

impl Op {
    /// Bytes of keys and values, for bounding a group.
    pub fn size(&self) -> usize {
        match self {
            Self::Put(_, key, value) => key.len() + value.len(),
            Self::Delete(_, key) => key.len(),
            Self::DeleteRange(_, from, to) => from.len() + to.len(),
        }
    }
}

/// Changes that land together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// All must hold.
    pub preconditions: Vec<Precondition>,
    /// Applied in order.
    pub ops: Vec<Op>,
}

/// What became of one commit of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Applied.
    Done,
    /// A precondition did not hold; nothing of it was applied.
    Conflict,
}

/// A place where rows are kept.
///
/// A get costs microseconds on the embedded backend and a network round trip on others, so callers batch. Nothing here
/// is beyond what an ordered key-value store or a SQL table in serialisable transactions can do.
pub trait Store: Send + Sync + 'static {
    /// The value of one key.
    fn get<'a>(&'a self, keyspace: Keyspace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// The values of several keys, in the order asked for.
    fn multi_get<'a>(&'a self, keys: &'a [(Keyspace, Bytes)]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>>;

    /// Rows of a range in key order, at most `limit` of them.
    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Vec<Row>, StoreError>>;

    /// Applies commits in order, each whole or not at all, and makes all of them durable before it returns (where the
    /// backend is set to sync). Blocks: it is called on the committer's own thread.
    ///
    /// # Errors
    /// An error means that the outcome is unknown. It is never tried again; the store must be reopened.
    fn commit_group(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError>;

    /// The value of one key, blocking; for the committer's thread, start-up and admin commands.
    fn get_blocking(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
}

/// Which commits of a group may be applied, given a way to read what is stored: the precondition logic that
/// backends with a plain batch write share.
///
/// # Errors
/// Those of `read`.
pub fn check_preconditions(
    group: &[Commit],
    mut read: impl FnMut(Keyspace, &[u8]) -> Result<Option<Bytes>, StoreError>,
) -> Result<Vec<Outcome>, StoreError> {
    // A single commit needs no view of its neighbours.
    let mut pending: HashMap<(Keyspace, &[u8]), Option<&Bytes>> = HashMap::new();
    let mut ranges: Vec<(Keyspace, &[u8], &[u8])> = Vec::new();
    let mut outcomes = Vec::with_capacity(group.len());
    for (index, commit) in group.iter().enumerate() {
        let mut holds = true;
        for precondition in &commit.preconditions {
            let (keyspace, key, wanted) = match precondition {
                Precondition::Absent(keyspace, key) => (*keyspace, key, None),
                Precondition::Equals(keyspace, key, value) => (*keyspace, key, Some(value)),
            };
            holds = match pending.get(&(keyspace, key.as_ref())) {
                Some(value) => *value == wanted,
                None if ranges.iter().any(|(k, from, to)| *k == keyspace && *from <= &key[..] && &key[..] < *to) => {
                    wanted.is_none()
                }
                None => read(keyspace, key)?.as_ref() == wanted,
            };
            if !holds {
                break;
            }
        }
        outcomes.push(if holds { Outcome::Done } else { Outcome::Conflict });
        if !holds || index + 1 == group.len() {
            continue;
        }
        for op in &commit.ops {
            match op {
                Op::Put(keyspace, key, value) => {
                    pending.insert((*keyspace, key), Some(value));
                }
                Op::Delete(keyspace, key) => {
                    pending.insert((*keyspace, key), None);
                }
                Op::DeleteRange(keyspace, from, to) => {
                    pending.retain(|(k, key), _| *k != *keyspace || *key < &from[..] || *key >= &to[..]);
                    ranges.push((*keyspace, from, to));
                }
            }
        }
    }
    Ok(outcomes)
}
