//! The auth graph of a room as its writer sees it: whom events cite, who cites them, and what all branches share.

use std::collections::{BTreeSet, HashMap};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use store::{Page, StoreError};

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
    /// What was read: each of the states asks for nearly the same events again.
    known: Mutex<HashMap<EventNum, AuthEvent>>,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(branches: Branches<'a>, base: NodeId, conflicted: BTreeSet<Slot>) -> Self {
        Self { branches, base, conflicted, known: Mutex::default() }
    }

    async fn parents(&self, nums: &[EventNum]) -> Result<Vec<Option<AuthEvent>>, EngineError> {
        let known = |nums: &[EventNum]| -> Vec<Option<AuthEvent>> {
            let known = self.known.lock();
            nums.iter().map(|num| known.get(num).cloned()).collect()
        };
        let unread: Vec<EventNum> =
            nums.iter().zip(known(nums)).filter(|(_, event)| event.is_none()).map(|(num, _)| *num).collect();
        if !unread.is_empty() {
            let read = self.read_parents(&unread).await?;
            self.known.lock().extend(unread.into_iter().zip(read).filter_map(|(num, event)| Some((num, event?))));
        }
        Ok(known(nums))
    }

    async fn read_parents(&self, nums: &[EventNum]) -> Result<Vec<Option<AuthEvent>>, EngineError> {
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

    async fn citing(&self, num: EventNum, below: Option<EventNum>, limit: usize) -> Result<Vec<EventNum>, StoreError> {
        let Branches { engine, room, overlay } = self.branches;
        let page = Page::last(limit);
        let rows = match below {
            Some(below) => engine.db.scan(&CITED, &(room.num, num), &(room.num, num, below), page).await?,
            None => engine.db.scan_prefix(&CITED, &(room.num, num), page).await?,
        };
        let mut by: BTreeSet<EventNum> = rows.into_iter().map(|((_, _, by), ())| by).collect();
        for key in overlay.keys_from(CITED.keyspace, &CITED.prefix(&(room.num, num))) {
            let (_, _, queued) = CITED.decode_key(key)?;
            if below.is_none_or(|below| queued < below) {
                by.insert(queued);
            }
        }
        Ok(by.into_iter().rev().take(limit).collect())
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
    fn children(&self, id: u32, below: Option<u32>, limit: usize) -> BoxFuture<'_, Result<Vec<u32>, StoreError>> {
        self.citing(id, below, limit).boxed()
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
