//! Walks through a room's graph for other servers. Each is bounded in the events that it reads, whatever was asked for.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};

use ::room::{Pdu, dag::topological_order};
use ruma::{EventId, OwnedEventId};

use super::StateAt;
use crate::{
    auth_chain::AuthChains,
    auth_graph::Graph,
    engine::{Engine, parse},
    error::EngineError,
    head::Overlay,
    resolution::Branches,
    room::Room,
    row::{EventRow, Verdict},
    state_tree::NodeId,
    tables::{EVENT_IDS, EventNum},
};

/// Events given in one answer, at most.
const MAX_GIVEN: usize = 1000;
/// Events read for each that may be given: rejected ones are passed over.
const READ_PER_GIVEN: usize = 4;
/// Events from which a walk starts, at most; what is more is left out.
const MAX_STARTS: usize = 100;

impl Engine {
    /// The state before an event.
    ///
    /// # Errors
    /// [`EngineError::UnknownEvent`], also where that state is not known; those of the store.
    pub async fn state_before_event(&self, room: &Room, event: &EventId) -> Result<StateAt, EngineError> {
        let num = self.find_event(room.num, event.as_str()).await?.ok_or(EngineError::UnknownEvent)?;
        let row = self.event(room.num, num).await?;
        if !has_place(&row) || row.partial_state() {
            return Err(EngineError::UnknownEvent);
        }
        let state: Vec<EventNum> =
            self.entries_at(room.num, row.state_before()).await?.into_iter().map(|(_, _, num)| num).collect();
        let auth_chain = self.chain_of(room, &state).await?;
        Ok(StateAt { state, auth_chain })
    }

    /// Everything that allows these events, themselves left out.
    ///
    /// # Errors
    /// [`EngineError::UnknownEvent`] where part of it is not here; those of the store.
    pub async fn auth_chain(&self, room: &Room, events: &[EventNum]) -> Result<Vec<EventNum>, EngineError> {
        let own: BTreeSet<EventNum> = events.iter().copied().collect();
        let mut chain = self.chain_of(room, events).await?;
        chain.retain(|num| !own.contains(num));
        Ok(chain)
    }

    async fn chain_of(&self, room: &Room, events: &[EventNum]) -> Result<Vec<EventNum>, EngineError> {
        // Only what is durable is asked for: there is nothing to see through.
        let overlay = Overlay::default();
        let branches = Branches { engine: self, room, overlay: &overlay };
        let graph = Graph::new(branches, NodeId::EMPTY, BTreeSet::new());
        let chain = AuthChains::new(room.num, &graph, &self.chains).chain(events).await?;
        Ok(chain.ok_or(EngineError::UnknownEvent)?.into_iter().collect())
    }

    /// History back from some events, themselves included where they are here: newest first, at most `limit`. Rejected events and
    /// outliers are not part of it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn backfill(
        &self,
        room: &Room,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<(EventNum, EventRow)>, EngineError> {
        let limit = limit.min(MAX_GIVEN);
        let mut given = Vec::new();
        let mut seen = HashSet::new();
        // By depth, then by arrival: what follows an event comes before it.
        let mut open = BinaryHeap::new();
        let mut rows = BTreeMap::new();
        let mut next = self.nums(room, from.iter().take(MAX_STARTS)).await?;
        for _ in 0..limit.saturating_mul(READ_PER_GIVEN) {
            next.retain(|num| seen.insert(*num));
            for (num, row) in self.events(room.num, &next).await? {
                open.push((row.depth(), row.arrival(), num));
                rows.insert(num, row);
            }
            let Some((.., num)) = open.pop() else { break };
            let Some(row) = rows.remove(&num) else { continue };
            next = if row.outlier() { Vec::new() } else { self.nums(room, &parse(&row, room)?.prev_events).await? };
            if has_place(&row) {
                given.push((num, row));
                if given.len() >= limit {
                    break;
                }
            }
        }
        Ok(given)
    }

    /// The events between some that a server has (`earliest`) and some that it heard of (`latest`), neither included: walked back in
    /// breadth, at most `limit`, none whose own depth is below `min_depth`, in topological order, oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn missing_events(
        &self,
        room: &Room,
        earliest: &[OwnedEventId],
        latest: &[OwnedEventId],
        limit: usize,
        min_depth: u64,
    ) -> Result<Vec<(EventNum, EventRow)>, EngineError> {
        let limit = limit.min(MAX_GIVEN);
        let mut budget = limit.saturating_mul(READ_PER_GIVEN);
        let mut seen: HashSet<EventNum> = self.nums(room, earliest.iter().take(MAX_GIVEN)).await?.into_iter().collect();
        let mut level = self.nums(room, latest.iter().take(MAX_STARTS)).await?;
        // What was heard of may be among what the server has.
        level.retain(|num| seen.insert(*num));
        let starts = self.events(room.num, &level).await?;
        let mut level: Vec<Pdu> = parsed(&starts, room)?;
        let mut given: Vec<(Pdu, EventNum, EventRow)> = Vec::new();
        while !level.is_empty() && given.len() < limit && budget > 0 {
            let mut nums = self.nums(room, level.iter().flat_map(|pdu| &pdu.prev_events)).await?;
            nums.retain(|num| seen.insert(*num));
            nums.truncate(budget);
            budget -= nums.len();
            level.clear();
            for (num, row) in self.events(room.num, &nums).await? {
                let pdu = parse(&row, room)?;
                if row.outlier() || pdu.depth < min_depth {
                    continue;
                }
                level.push(pdu.clone());
                if has_place(&row) && given.len() < limit {
                    given.push((pdu, num, row));
                }
            }
        }
        let pdus: Vec<&Pdu> = given.iter().map(|(pdu, ..)| pdu).collect();
        let order = topological_order(&pdus);
        let placed = order.sorted.into_iter().chain(order.cyclic);
        Ok(placed.filter_map(|at| given.get(at)).map(|(_, num, row)| (*num, row.clone())).collect())
    }

    /// Those of these ids that are not here, in any form. Bounded by the caller.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn absent(&self, room: &Room, ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, EngineError> {
        let keys: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let places = self.db.multi_get(&EVENT_IDS, &keys).await?;
        let here = |place: &Option<crate::staged::EventPlace>| place.is_some_and(|place| place.room == room.num);
        Ok(ids.iter().zip(&places).filter(|(_, place)| !here(place)).map(|(id, _)| id.clone()).collect())
    }

    /// The numbers of those of the events that are here, in their order.
    async fn nums<'a>(
        &self,
        room: &Room,
        ids: impl IntoIterator<Item = &'a OwnedEventId>,
    ) -> Result<Vec<EventNum>, EngineError> {
        let keys: Vec<String> = ids.into_iter().map(ToString::to_string).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let places = self.db.multi_get(&EVENT_IDS, &keys).await?;
        Ok(places.into_iter().flatten().filter(|place| place.room == room.num).map(|place| place.num).collect())
    }
}

/// Whether an event is part of the room's graph as others see it. (One that failed softly is: it may be followed elsewhere.)
fn has_place(row: &EventRow) -> bool {
    row.verdict() != Verdict::Rejected && !row.outlier()
}

fn parsed(rows: &[(EventNum, EventRow)], room: &Room) -> Result<Vec<Pdu>, EngineError> {
    rows.iter().map(|(_, row)| parse(row, room)).collect()
}
