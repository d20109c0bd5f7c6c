//! Events that relate to another, directly or through others.

use std::collections::HashSet;

use store::Page;

use crate::{
    engine::Engine,
    error::EngineError,
    relations::RelationFilter,
    tables::{EventNum, RELATED, RELATIONS, RoomNum},
    timeline::HistoryPoint,
};

/// How far relations are followed.
pub const RELATION_DEPTH: usize = 3;
/// Events collected, at most.
const MAX_EVENTS: usize = 5000;

impl Engine {
    /// All events that relate to another over at most [`RELATION_DEPTH`] steps, in the order of the room's history. The
    /// filter decides about what is given back, not about what is followed. Beyond 5,000 events the rest is left out.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn descendants(
        &self,
        room: RoomNum,
        target: &str,
        filter: RelationFilter<'_>,
    ) -> Result<Vec<(HistoryPoint, EventNum)>, EngineError> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let mut level = vec![target.to_owned()];
        for _ in 0..RELATION_DEPTH {
            let mut nums = Vec::new();
            for target in std::mem::take(&mut level) {
                let left = MAX_EVENTS.saturating_sub(seen.len());
                let rows = self.db.scan_prefix(&RELATIONS, &(room, target), Page::last(left)).await?;
                for ((_, _, depth, arrival), row) in rows {
                    if seen.insert(row.num) {
                        nums.push(row.num);
                        if filter.matches(&row) {
                            found.push((HistoryPoint { depth, arrival }, row.num));
                        }
                    }
                }
            }
            level = self.related_ids(room, &nums).await?;
        }
        found.sort_unstable_by_key(|(point, _)| *point);
        Ok(found)
    }

    /// The ids of those events that something relates to.
    async fn related_ids(&self, room: RoomNum, nums: &[EventNum]) -> Result<Vec<String>, EngineError> {
        let keys: Vec<(RoomNum, EventNum)> = nums.iter().map(|num| (room, *num)).collect();
        let related = self.db.multi_get(&RELATED, &keys).await?;
        let nums: Vec<EventNum> =
            nums.iter().zip(related).filter(|(_, related)| related.is_some()).map(|(num, _)| *num).collect();
        Ok(self.events(room, &nums).await?.into_iter().map(|(_, row)| row.event_id().to_owned()).collect())
    }
}
