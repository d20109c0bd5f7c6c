//! The auth graph of a room as its writer sees it: whom events cite, who cites them, and what all branches share.

use std::collections::{BTreeSet, HashMap};

use futures::{FutureExt, future::BoxFuture};
use store::StoreError;

use crate::{
    auth_chain::{AuthEvent, AuthParents, SharedState},
    error::EngineError,
    resolution::{Branches, Slot, slot_of},
    state_tree::{self, NodeId},
    tables::{CITED, EVENT_IDS, EventNum},
};

/// One of the states that meet, and on which keys they are not the same.
pub(crate) struct Graph<'a> {
    branches: Branches<'a>,
    base: NodeId,
    conflicted: BTreeSet<Slot>,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(branches: Branches<'a>, base: NodeId, conflicted: BTreeSet<Slot>) -> Self {
        Self { branches, base, conflicted }
    }

    async fn parents(&self, nums: &[EventNum]) -> Result<Vec<Option<AuthEvent>>, EngineError> {
        let pdus: HashMap<_, _> = self.branches.pdus(nums).await?.into_iter().collect();
        let cited: BTreeSet<String> = pdus.values().flat_map(|pdu| &pdu.auth_events).map(ToString::to_string).collect();
        let numbers = self.numbers(cited).await?;
        let event = |num| {
            let pdu = pdus.get(num)?;
            let parents: Option<Vec<_>> = pdu.auth_events.iter().map(|id| numbers.get(id.as_str()).copied()).collect();
            Some(AuthEvent {
                parents: parents?,
                is_member: pdu.event_type == ruma::events::TimelineEventType::RoomMember,
            })
        };
        Ok(nums.iter().map(event).collect())
    }

    async fn numbers(&self, ids: BTreeSet<String>) -> Result<HashMap<String, EventNum>, StoreError> {
        let Branches { engine, room, overlay } = self.branches;
        let (mut found, mut missing) = (HashMap::with_capacity(ids.len()), Vec::new());
        for id in ids {
            match overlay.peek(EVENT_IDS.keyspace, &EVENT_IDS.key(&id)) {
                Some(Some(bytes)) => drop(found.insert(id, EVENT_IDS.decode(bytes)?)),
                _ => missing.push(id),
            }
        }
        let read = engine.db.multi_get(&EVENT_IDS, &missing).await?;
        found.extend(missing.into_iter().zip(read).filter_map(|(id, place)| Some((id, place?))));
        let here = found.into_iter().filter(|(_, place)| place.room == room.num);
        Ok(here.map(|(id, place)| (id, place.num)).collect())
    }

    async fn citing(&self, nums: &[EventNum]) -> Result<Vec<Vec<EventNum>>, StoreError> {
        let Branches { engine, room, overlay } = self.branches;
        let prefix = CITED.prefix(&room.num);
        let mut queued: HashMap<EventNum, Vec<EventNum>> = HashMap::new();
        for key in overlay.keys_from(CITED.keyspace, &prefix) {
            let (_, cited, by) = CITED.decode_key(key)?;
            queued.entry(cited).or_default().push(by);
        }
        let mut out = Vec::with_capacity(nums.len());
        for num in nums {
            let rows = engine.db.scan_all(&CITED, &(room.num, *num)).await?;
            let mut by: Vec<EventNum> = rows.into_iter().map(|((_, _, by), ())| by).collect();
            by.extend(queued.remove(num).unwrap_or_default());
            out.push(by);
        }
        Ok(out)
    }

    async fn shared(&self, nums: &[EventNum]) -> Result<Vec<bool>, EngineError> {
        let pdus: HashMap<_, _> = self.branches.pdus(nums).await?.into_iter().collect();
        let slots: Vec<(EventNum, Slot)> = nums
            .iter()
            .filter_map(|num| Some((*num, slot_of(pdus.get(num)?)?)))
            .filter(|(_, slot)| !self.conflicted.contains(slot))
            .collect();
        let keys: Vec<(&str, &str)> = slots.iter().map(|(_, (kind, key))| (kind.as_str(), key.as_str())).collect();
        let entries = state_tree::get_many(&self.branches.nodes(), self.base, &keys).await?;
        let held: BTreeSet<EventNum> = slots
            .iter()
            .zip(entries)
            .filter(|((num, _), entry)| *entry == Some(*num))
            .map(|((num, _), _)| *num)
            .collect();
        Ok(nums.iter().map(|num| held.contains(num)).collect())
    }
}

impl AuthParents for Graph<'_> {
    fn load<'a>(&'a self, ids: &'a [u32]) -> BoxFuture<'a, Result<Vec<Option<AuthEvent>>, StoreError>> {
        async move { self.parents(ids).await.map_err(store_error) }.boxed()
    }
}

impl SharedState for Graph<'_> {
    fn children<'a>(&'a self, ids: &'a [u32]) -> BoxFuture<'a, Result<Vec<Vec<u32>>, StoreError>> {
        self.citing(ids).boxed()
    }

    fn contains<'a>(&'a self, ids: &'a [u32]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        async move { self.shared(ids).await.map_err(store_error) }.boxed()
    }
}

fn store_error(error: EngineError) -> StoreError {
    match error {
        EngineError::Store(error) => error,
        other => StoreError::Backend(other.to_string()),
    }
}
