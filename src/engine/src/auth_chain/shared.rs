use futures::future::BoxFuture;
use roaring::RoaringBitmap;
use store::StoreError;

use super::{AuthChains, ChainError};

/// Events that cite another one, read at once. Nearly every membership cites the power levels and the join rules: one of the first few
/// tells what is asked, and the others are as many as the room has members.
const PAGE: usize = 32;

/// The entries that all states share, for [`AuthChains::less_shared`].
pub trait SharedState: Send + Sync {
    /// The state events that have this event among their `auth_events`, by their numbers, the greatest first: those below `below`, at
    /// most `limit`. Fewer mean that there are no more.
    ///
    /// # Errors
    /// Those of the store.
    fn children(&self, id: u32, below: Option<u32>, limit: usize) -> BoxFuture<'_, Result<Vec<u32>, StoreError>>;

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
    ///
    /// From each event it goes on to the newest that cite it, and comes back for the rest of them only where those lead nowhere.
    async fn is_cited(
        &self,
        id: u32,
        shared: &dyn SharedState,
        unreached: &mut RoaringBitmap,
        visited: &mut u64,
    ) -> Result<bool, ChainError> {
        let mut seen = RoaringBitmap::new();
        let mut open = vec![(id, None)];
        while let Some((id, below)) = open.pop() {
            let page = shared.children(id, below, PAGE).await?;
            if let Some(last) = page.last().filter(|_| page.len() == PAGE) {
                open.push((id, Some(*last)));
            }
            let new: Vec<u32> =
                page.into_iter().filter(|child| !unreached.contains(*child) && seen.insert(*child)).collect();
            self.count(visited, new.len())?;
            if shared.contains(&new).await?.contains(&true) {
                return Ok(true);
            }
            open.extend(new.into_iter().rev().map(|child| (child, None)));
        }
        *unreached |= seen;
        Ok(false)
    }
}
