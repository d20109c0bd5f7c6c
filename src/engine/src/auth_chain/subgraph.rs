use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::{AuthChains, BATCH, ChainError};

impl AuthChains<'_> {
    /// The conflicted state subgraph: every event on a path along `auth_events` from one conflicted event to another, ends
    /// included ([version 12](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution)). Conflicted events without such a path
    /// are in the result too: the full conflicted set has them anyway. `None` if an event that can be on a path is missing.
    ///
    /// # Errors
    /// [`ChainError`]
    pub async fn conflicted_subgraph(&self, conflicted: &RoaringBitmap) -> Result<Option<RoaringBitmap>, ChainError> {
        let Some(cited_by) = self.citations(conflicted).await? else {
            return Ok(None);
        };
        // Whoever cites what leads to a conflicted event leads to it as well.
        let mut subgraph = conflicted.clone();
        let mut open: Vec<u32> = conflicted.iter().collect();
        while let Some(id) = open.pop() {
            for &child in cited_by.get(&id).map(Vec::as_slice).unwrap_or_default() {
                if subgraph.insert(child) {
                    open.push(child);
                }
            }
        }
        Ok(Some(subgraph))
    }

    /// Who cites whom among the conflicted events and what lies below them. It ends at events whose cached chains hold no
    /// conflicted event, as no path leads through them.
    async fn citations(&self, conflicted: &RoaringBitmap) -> Result<Option<HashMap<u32, Vec<u32>>>, ChainError> {
        let mut cited_by: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut seen = conflicted.clone();
        let mut frontier: Vec<u32> = conflicted.iter().collect();
        let mut visited = 0;
        while !frontier.is_empty() {
            frontier.retain(|id| self.cached(*id).is_none_or(|chain| !chain.is_disjoint(conflicted)));
            self.count(&mut visited, frontier.len())?;
            let mut next = Vec::new();
            for batch in frontier.chunks(BATCH) {
                let Some(events) = self.load(batch).await? else {
                    return Ok(None);
                };
                for (&id, event) in batch.iter().zip(&events) {
                    for &parent in &event.parents {
                        cited_by.entry(parent).or_default().push(id);
                        if seen.insert(parent) {
                            next.push(parent);
                        }
                    }
                }
            }
            frontier = next;
        }
        Ok(Some(cited_by))
    }
}
