use futures::future::BoxFuture;
use roaring::RoaringBitmap;
use store::StoreError;

use super::{AuthChains, BATCH, ChainError};

/// The entries that all states share, for [`AuthChains::less_shared`].
pub trait SharedState: Send + Sync {
    /// For each of these events, in their order, the state events that have it among their `auth_events`.
    ///
    /// # Errors
    /// Those of the store.
    fn children<'a>(&'a self, ids: &'a [u32]) -> BoxFuture<'a, Result<Vec<Vec<u32>>, StoreError>>;

    /// For each of these events, in their order, whether all states have it.
    ///
    /// # Errors
    /// Those of the store.
    fn contains<'a>(&'a self, ids: &'a [u32]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>>;
}

impl AuthChains<'_> {
    /// The candidates that are not in the auth chain of the shared state: those to which no shared event leads. The shared state
    /// is never walked as a whole; the walk goes up from each candidate and ends at the first shared event. `None` as for
    /// [`Self::chain`], of the candidates.
    ///
    /// The union of the conflicted events' chains less the intersection, and then this, is the difference of the states' full chains.
    ///
    /// # Errors
    /// [`ChainError`]
    pub async fn less_shared(
        &self,
        candidates: RoaringBitmap,
        shared: &dyn SharedState,
    ) -> Result<Option<RoaringBitmap>, ChainError> {
        let mut outside = candidates.clone();
        let mut todo = candidates;
        let (mut unreached, mut visited) = (RoaringBitmap::new(), 0);
        // The newest first: if it is in the shared chain, so is its own chain.
        while let Some(newest) = todo.max() {
            todo.remove(newest);
            if unreached.contains(newest) || !self.is_cited(newest, shared, &mut unreached, &mut visited).await? {
                continue;
            }
            let Some(chain) = self.chain_of(newest).await? else {
                return Ok(None);
            };
            outside.remove(newest);
            outside -= &*chain;
            todo -= &*chain;
        }
        Ok(Some(outside))
    }

    /// Whether a shared event leads to this one. If not, everything above it joins `unreached`: neither shared nor led to.
    /// (Not the event itself, which may be shared.)
    async fn is_cited(
        &self,
        id: u32,
        shared: &dyn SharedState,
        unreached: &mut RoaringBitmap,
        visited: &mut u64,
    ) -> Result<bool, ChainError> {
        let mut seen = RoaringBitmap::new();
        let mut open = vec![id];
        while !open.is_empty() {
            let batch = open.split_off(open.len().saturating_sub(BATCH));
            let children: RoaringBitmap = shared.children(&batch).await?.into_iter().flatten().collect();
            let new: Vec<u32> = (children - &seen - &*unreached).into_iter().collect();
            for batch in new.chunks(BATCH) {
                self.count(visited, batch.len())?;
                if shared.contains(batch).await?.contains(&true) {
                    return Ok(true);
                }
            }
            seen.extend(&new);
            open.extend(new);
        }
        *unreached |= seen;
        Ok(false)
    }
}
