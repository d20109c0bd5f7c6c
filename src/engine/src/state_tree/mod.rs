//! State snapshots as immutable trees whose shape depends on their content alone.
//!
//! A snapshot is a sorted map from (event type, state key) to the event's dense number in its room. It is cut into
//! nodes of about 1 KiB at boundaries chosen by the keys' hashes; a level above holds one entry per node, and so on up
//! to a single root. Two snapshots with equal entries have equal root ids, whatever changes led to them; one change
//! writes a handful of nodes; comparing two snapshots reads only what differs between them. Entries are ordered by
//! type, then by state key, so all members of a room are one range.
//!
//! # Where a level is cut
//!
//! Every key has a *rank* on every level: the first 64 bits of a SHA-256 over the level and the key. The *interval* of
//! an entry is the longest run of neighbours around it whose ranks are all higher than its own. An entry ends a node
//! exactly if its interval weighs more than [`MAX_WEIGHT`] (weights bound encoded bytes from above). Consequences:
//!
//! - A node weighs at most [`MAX_WEIGHT`] plus its last entry, so it has at most [`MAX_NODE_BYTES`], for any keys. On
//!   average a node is half full: about 1 KiB encoded.
//! - Whether an entry ends a node depends on neighbours within [`MAX_WEIGHT`] only, so a change moves few boundaries.
//!   This holds for keys chosen by an attacker too; there is no cascade.
//!
//! # Worst case
//!
//! Ranks are public, so an attacker who chooses state keys (or user ids) can search for keys whose ranks rise in key
//! order: every entry then ends a node, and that level does not shrink. The level is part of the rank's input, so
//! each further level that shall not shrink multiplies the work per key by about the number of entries in a node
//! (some 40): five such levels cost about 10^8 hashes for each key. From level [`HASHED_LEVELS`] on nodes are therefore filled
//! in order, at least two entries each, which halves each level at least; an honest tree never gets there. Depth is thus at most
//! [`HASHED_LEVELS`] + log2(entries) for any keys; on such a high level a change may rewrite the whole level, which is as small as
//! the attacker's work on eight levels allows.
//!
//! Nodes are named by content and never change, so they may be cached without end; whoever implements [`Nodes`] checks
//! an id once, where bytes come from outside memory ([`NodeId::of`]).

mod apply;
mod codec;
mod diff;
mod memory;
mod read;
mod shape;
mod window;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};

pub use apply::{Applied, apply, build};
pub use diff::{Change, diff};
pub use memory::MemoryNodes;
pub use read::{entries, get, get_many, mark, range, range_page, reachable};
pub use shape::HASHED_LEVELS;

/// Longest event type and longest state key, in bytes (the specification allows 255 characters of up to four bytes).
pub const MAX_KEY_PART_BYTES: usize = 1024;
/// The weight in bytes, by upper bounds, that the entries of a node may have, its last entry not counted.
pub const MAX_WEIGHT: u32 = 4096;
/// No node is longer than this many bytes, whatever the keys are.
pub const MAX_NODE_BYTES: usize = 1 + MAX_WEIGHT as usize + 24 + 2 * MAX_KEY_PART_BYTES;

/// The name of a node: the first 128 bits of the SHA-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 16]);

impl NodeId {
    /// The tree without entries. It has no bytes and is never loaded.
    pub const EMPTY: Self = Self([0; 16]);

    /// The id of a node with these bytes.
    #[must_use]
    pub fn of(node: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(node).into();
        let mut id = [0; 16];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(id)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Event type and state key; ordered by type first, both by bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The event type, such as `m.room.member`.
    pub ty: Arc<str>,
    /// The state key; often empty.
    pub state_key: Arc<str>,
}

impl Key {
    /// A key of the two parts.
    pub fn new(ty: impl Into<Arc<str>>, state_key: impl Into<Arc<str>>) -> Self {
        Self { ty: ty.into(), state_key: state_key.into() }
    }
}

impl<T: Into<Arc<str>>, K: Into<Arc<str>>> From<(T, K)> for Key {
    fn from((ty, state_key): (T, K)) -> Self {
        Self::new(ty, state_key)
    }
}

/// Why a tree could not be read or changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TreeError {
    /// A node's bytes are not a node, or not the one its parent speaks of.
    #[error("state node is damaged: {0}")]
    Corrupt(&'static str),
    /// A node that the tree refers to does not exist.
    #[error("state node {0:?} is missing")]
    Missing(NodeId),
    /// An event type or state key of this many bytes is longer than [`MAX_KEY_PART_BYTES`].
    #[error("an event type or state key has {0} bytes; {MAX_KEY_PART_BYTES} are allowed")]
    KeyTooLong(usize),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

/// Where nodes come from: a cache over the store's rows of one room.
pub trait Nodes: Send + Sync {
    /// The bytes of node `id`, which is never [`NodeId::EMPTY`].
    ///
    /// # Errors
    /// [`TreeError::Missing`] if there is no such node, [`TreeError::Store`] if the store fails.
    fn load<'a>(&'a self, id: &'a NodeId) -> BoxFuture<'a, Result<Bytes, TreeError>>;
}

/// What an entry holds: on level 0 an event's dense number, above it the id of a node one level down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payload {
    Value(u32),
    Child(NodeId),
}

/// One entry of a node. Above level 0 the key is the last key of the child.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: Key,
    payload: Payload,
}
