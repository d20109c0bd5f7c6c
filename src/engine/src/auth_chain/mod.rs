//! Auth chains: everything that an event's `auth_events`, theirs, and so on refer to.
//!
//! Chains are bitmaps of the room's dense event numbers. The chains of auth events other than memberships (the create event, power
//! levels, join rules, third-party invites) are computed once and cached: there are few, and nearly every chain consists of them.
//! A membership's chain is the union of its parents' chains, found by walking until those are met. A chain is there or absent: where an
//! ancestor is missing it is never truncated and nothing is cached. Events never change their `auth_events`, so a cached chain holds
//! for ever.
//!
//! Walks are loops, not recursions, load in batches, visit every event once, and give up with [`ChainError::TooLong`] after
//! [`MAX_WALK`] events. Cycles, which forged events of room versions 1 and 2 can make, end them as well: an event that is its own
//! ancestor is in its own chain.

mod shared;
mod subgraph;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::future::BoxFuture;
use quick_cache::{Weighter, sync::Cache};
use roaring::RoaringBitmap;
use store::StoreError;

pub use shared::SharedState;

/// No walk visits more events than this.
pub const MAX_WALK: u64 = 1_000_000;
/// Events loaded at once.
const BATCH: usize = 256;
/// Bitmaps that one call computes for the cache; what is left is walked through without.
const MAX_NEW_CHAINS: usize = 16;

/// What a walk needs to know of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthEvent {
    /// The numbers of its `auth_events`. In version 12 the create event is not among them, so it is in no chain.
    pub parents: Vec<u32>,
    /// Whether it is an `m.room.member`.
    pub is_member: bool,
}

/// Where the auth graph of one room comes from.
pub trait AuthParents: Send + Sync {
    /// The events of these numbers, in their order; `None` for one that is missing, or a parent of which has no number.
    ///
    /// # Errors
    /// Those of the store.
    fn load<'a>(&'a self, ids: &'a [u32]) -> BoxFuture<'a, Result<Vec<Option<AuthEvent>>, StoreError>>;
}

/// Why a walk ended without an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChainError {
    /// More events would have to be visited than allowed.
    #[error("an auth chain of more than {0} events")]
    TooLong(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Cached chains of all rooms, bounded in bytes.
#[derive(Debug)]
pub struct ChainCache(Cache<(u64, u32), Arc<RoaringBitmap>, Bytes>);

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<(u64, u32), Arc<RoaringBitmap>> for Bytes {
    fn weight(&self, _: &(u64, u32), chain: &Arc<RoaringBitmap>) -> u64 {
        64 + chain.serialized_size() as u64
    }
}

impl ChainCache {
    /// A cache that holds about this many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        // An estimate that sizes the index: small rooms have chains of some 64 bytes.
        let estimate = usize::try_from(bytes / 256).unwrap_or(usize::MAX).min(1 << 20);
        Self(Cache::with_weighter(estimate, bytes, Bytes))
    }

    /// Drops what is cached for a room that is purged.
    pub fn forget(&self, room: u64) {
        self.0.retain(|(of, _), _| *of != room);
    }
}

/// The auth chains of one room.
#[derive(Clone, Copy)]
pub struct AuthChains<'a> {
    room: u64,
    parents: &'a dyn AuthParents,
    cache: &'a ChainCache,
    max_walk: u64,
}

/// What a walk has found so far.
#[derive(Default)]
struct Found {
    chain: RoaringBitmap,
    /// The events whose parents are in the chain and are visited or about to be.
    expanded: RoaringBitmap,
    visited: u64,
}

impl Found {
    /// Adds an event's whole chain: nothing in it has to be visited any more.
    fn absorb(&mut self, chain: &RoaringBitmap) {
        self.chain |= chain;
        self.expanded |= chain;
    }

    fn add_parents(&mut self, parents: &[u32], next: &mut RoaringBitmap) {
        for &parent in parents {
            self.chain.insert(parent);
            if !self.expanded.contains(parent) {
                next.insert(parent);
            }
        }
    }
}

impl<'a> AuthChains<'a> {
    /// The chains of the room that `room` tells apart in the cache.
    #[must_use]
    pub fn new(room: u64, parents: &'a dyn AuthParents, cache: &'a ChainCache) -> Self {
        Self { room, parents, cache, max_walk: MAX_WALK }
    }

    #[cfg(test)]
    fn with_max_walk(self, max_walk: u64) -> Self {
        Self { max_walk, ..self }
    }

    /// The union of the events' auth chains; `None` if one of the events or of their ancestors is missing. The events
    /// themselves are in it only as ancestors of one another. The chain of a single event is cached.
    ///
    /// # Errors
    /// [`ChainError`]
    pub async fn chain(&self, ids: &[u32]) -> Result<Option<RoaringBitmap>, ChainError> {
        if let [id] = ids {
            return Ok(self.chain_of(*id).await?.map(|chain| (*chain).clone()));
        }
        let mut found = Found::default();
        let mut anchors = RoaringBitmap::new();
        if !self.walk(ids.iter().copied().collect(), &mut found, Some(&mut anchors)).await? {
            return Ok(None);
        }
        // The newest first: what they build on is in their chains, mostly.
        for _ in 0..MAX_NEW_CHAINS {
            anchors -= &found.expanded;
            let Some(newest) = anchors.max() else {
                return Ok(Some(found.chain));
            };
            let Some(chain) = self.chain_of(newest).await? else {
                return Ok(None);
            };
            found.absorb(&chain);
            found.expanded.insert(newest);
        }
        Ok(self.walk(anchors, &mut found, None).await?.then_some(found.chain))
    }

    /// The auth difference of states given by their events: what is in some of their chains but not in all. `None` as
    /// for [`Self::chain`].
    ///
    /// Where the states agree on most entries, give only the events on which they do not, and pass the result to
    /// [`Self::less_shared`].
    ///
    /// # Errors
    /// [`ChainError`]
    pub async fn difference(&self, sets: &[Vec<u32>]) -> Result<Option<RoaringBitmap>, ChainError> {
        let mut union = RoaringBitmap::new();
        let mut intersection: Option<RoaringBitmap> = None;
        for set in sets {
            let Some(chain) = self.chain(set).await? else {
                return Ok(None);
            };
            union |= &chain;
            intersection = Some(match intersection {
                Some(common) => common & chain,
                None => chain,
            });
        }
        Ok(Some(union - intersection.unwrap_or_default()))
    }

    fn cached(&self, id: u32) -> Option<Arc<RoaringBitmap>> {
        self.cache.0.get(&(self.room, id))
    }

    async fn chain_of(&self, id: u32) -> Result<Option<Arc<RoaringBitmap>>, ChainError> {
        if let Some(chain) = self.cached(id) {
            return Ok(Some(chain));
        }
        let mut found = Found::default();
        if !self.walk([id].into(), &mut found, None).await? {
            return Ok(None);
        }
        found.chain.optimize();
        let chain = Arc::new(found.chain);
        self.cache.0.insert((self.room, id), chain.clone());
        Ok(Some(chain))
    }

    /// Adds the chains of `frontier` to what is found; false if an event is missing. With `anchors`, events that are no
    /// memberships are put there instead of being walked through.
    async fn walk(
        &self,
        mut frontier: RoaringBitmap,
        found: &mut Found,
        mut anchors: Option<&mut RoaringBitmap>,
    ) -> Result<bool, ChainError> {
        while !frontier.is_empty() {
            for id in &frontier {
                if let Some(chain) = self.cached(id) {
                    found.absorb(&chain);
                    found.expanded.insert(id);
                }
            }
            let unknown: Vec<u32> = (frontier - &found.expanded).into_iter().collect();
            self.count(&mut found.visited, unknown.len())?;
            let mut next = RoaringBitmap::new();
            for batch in unknown.chunks(BATCH) {
                let Some(events) = self.load(batch).await? else {
                    return Ok(false);
                };
                for (&id, event) in batch.iter().zip(&events) {
                    match &mut anchors {
                        Some(anchors) if !event.is_member => {
                            anchors.insert(id);
                        }
                        _ => {
                            found.expanded.insert(id);
                            found.add_parents(&event.parents, &mut next);
                        }
                    }
                }
            }
            if let Some(anchors) = &anchors {
                next -= &**anchors;
            }
            frontier = next;
        }
        Ok(true)
    }

    /// All of these events, or `None`.
    async fn load(&self, ids: &[u32]) -> Result<Option<Vec<AuthEvent>>, ChainError> {
        let events: Option<Vec<AuthEvent>> = self.parents.load(ids).await?.into_iter().collect();
        Ok(events.filter(|events| events.len() == ids.len()))
    }

    fn count(&self, visited: &mut u64, more: usize) -> Result<(), ChainError> {
        *visited = visited.saturating_add(more as u64);
        if *visited > self.max_walk { Err(ChainError::TooLong(self.max_walk)) } else { Ok(()) }
    }
}
