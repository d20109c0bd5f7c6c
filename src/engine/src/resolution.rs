//! Where branches of a room meet: what several states, given by the roots of their trees, resolve to.
//! [State resolution](https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution).
//!
//! The algorithm is [`room::resolve`]'s. Here is what it works on: the entries on which the states differ, the few it needs of those
//! on which they agree, the auth difference, and every event that it can ask for, read beforehand. The result is a change to one of
//! the trees.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use roaring::RoaringBitmap;
use room::{
    Pdu,
    auth::auth_types,
    pdu::SharedPdu,
    resolve::{EventIds, ResolveError, StateMap, resolve_reduced},
};
use ruma::{EventId, OwnedEventId, events::StateEventType, room_version_rules::StateResolutionVersion};

use crate::{
    auth_chain::{AuthChains, ChainError},
    auth_graph::Graph,
    engine::{Engine, parse},
    error::EngineError,
    head::Overlay,
    room::Room,
    state::RoomNodes,
    state_tree::{self, Applied, Key, NodeId},
    tables::{EVENTS, EventNum},
};

/// With more events than this at hand, resolving leaves the thread to others.
pub(crate) const LARGE: usize = 1000;

/// Type and state key.
pub(crate) type Slot = (String, String);

/// A room's events and states as its writer sees them, for whom branches meet.
#[derive(Clone, Copy)]
pub(crate) struct Branches<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) room: &'a Room,
    pub(crate) overlay: &'a Overlay,
}

/// The keys on which the states are not all the same, with the entry of each of the states.
struct Conflict(BTreeMap<Slot, Vec<Option<EventNum>>>);

impl Conflict {
    fn nums(&self) -> BTreeSet<EventNum> {
        self.0.values().flatten().flatten().copied().collect()
    }

    /// The entries of each of the states.
    fn sets(&self, states: usize) -> Vec<Vec<EventNum>> {
        (0..states).map(|n| self.0.values().filter_map(|entries| *entries.get(n)?).collect()).collect()
    }
}

/// Events read beforehand.
#[derive(Default)]
struct Events {
    pdus: HashMap<OwnedEventId, SharedPdu>,
    nums: HashMap<OwnedEventId, EventNum>,
    ids: HashMap<EventNum, OwnedEventId>,
}

impl Events {
    fn by_num(&self, num: EventNum) -> Option<&SharedPdu> {
        self.pdus.get(self.ids.get(&num)?)
    }

    fn ids_of(&self, nums: impl IntoIterator<Item = EventNum>) -> EventIds {
        nums.into_iter().filter_map(|num| self.ids.get(&num).cloned()).collect()
    }
}

impl From<ChainError> for EngineError {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Store(error) => Self::Store(error),
            long @ ChainError::TooLong(_) => Self::Inconsistent(long.to_string()),
        }
    }
}

impl From<ResolveError> for EngineError {
    fn from(error: ResolveError) -> Self {
        Self::Inconsistent(error.to_string())
    }
}

impl<'a> Branches<'a> {
    /// The tree that these states resolve to, as a change to the first of them.
    ///
    /// # Errors
    /// Those of the store; [`EngineError::Inconsistent`] where an event that decides is missing or malformed.
    pub(crate) async fn resolve(self, roots: &[NodeId]) -> Result<Applied, EngineError> {
        let Some((base, others)) = roots.split_first() else {
            return Ok(Applied { root: NodeId::EMPTY, new_nodes: Vec::new() });
        };
        let conflict = self.conflict(*base, others).await?;
        if conflict.0.is_empty() {
            return Ok(Applied { root: *base, new_nodes: Vec::new() });
        }
        let mut events = Events::default();
        self.load(&mut events, conflict.nums()).await?;
        let difference = match self.room.rules.state_res {
            StateResolutionVersion::V1 => RoaringBitmap::new(),
            _ => self.load_chains(&mut events, *base, &conflict, roots.len()).await?,
        };
        let shared = self.load_shared(&mut events, *base, &conflict, &difference).await?;
        let resolved = self.run(&events, &conflict, roots.len(), shared, &difference).await?;
        let mut changes: BTreeMap<Slot, Option<EventNum>> = conflict.0.into_keys().map(|slot| (slot, None)).collect();
        for ((event_type, state_key), id) in resolved {
            let num = events.nums.get(&id).copied();
            let num = num.ok_or_else(|| EngineError::Inconsistent(format!("{id} was resolved but not read")))?;
            changes.insert((event_type.to_string(), state_key), Some(num));
        }
        let changes: Vec<_> =
            changes.into_iter().map(|((kind, key), num)| (Key::new(kind.as_str(), key.as_str()), num)).collect();
        Ok(state_tree::apply(&self.nodes(), *base, &changes).await?)
    }

    /// What is in some of the states' auth chains but not in all.
    #[cfg(test)]
    pub(crate) async fn auth_difference(self, roots: &[NodeId]) -> Result<EventIds, EngineError> {
        let Some((base, others)) = roots.split_first() else { return Ok(EventIds::new()) };
        let conflict = self.conflict(*base, others).await?;
        let mut events = Events::default();
        let difference = self.load_chains(&mut events, *base, &conflict, roots.len()).await?;
        Ok(events.ids_of(difference))
    }

    /// The tree after a state event.
    pub(crate) async fn after(self, before: NodeId, pdu: &Pdu, num: EventNum) -> Result<Applied, EngineError> {
        let Some((kind, key)) = slot_of(pdu) else { return Ok(Applied { root: before, new_nodes: Vec::new() }) };
        Ok(state_tree::apply(&self.nodes(), before, &[(Key::new(kind, key), Some(num))]).await?)
    }

    pub(crate) fn nodes(self) -> RoomNodes<'a> {
        RoomNodes { engine: self.engine, room: self.room.num, overlay: Some(self.overlay) }
    }

    async fn conflict(self, base: NodeId, others: &[NodeId]) -> Result<Conflict, EngineError> {
        let mut keys: BTreeMap<Slot, Vec<Option<EventNum>>> = BTreeMap::new();
        let mut diffs = Vec::with_capacity(others.len());
        for other in others {
            let changes = state_tree::diff(&self.nodes(), base, *other).await?;
            for change in &changes {
                let slot = (change.event_type.clone(), change.state_key.clone());
                keys.entry(slot).or_insert_with(|| vec![change.old; others.len() + 1]);
            }
            diffs.push(changes);
        }
        for (n, changes) in diffs.into_iter().enumerate() {
            for change in changes {
                let entries = keys.get_mut(&(change.event_type, change.state_key));
                if let Some(entry) = entries.and_then(|entries| entries.get_mut(n + 1)) {
                    *entry = change.new;
                }
            }
        }
        Ok(Conflict(keys))
    }

    /// Reads the auth chains of the conflicted events and gives the auth difference.
    async fn load_chains(
        self,
        events: &mut Events,
        base: NodeId,
        conflict: &Conflict,
        states: usize,
    ) -> Result<RoaringBitmap, EngineError> {
        let missing = || EngineError::Inconsistent("an auth chain has a gap".to_owned());
        let graph = Graph::new(self, base, conflict.0.keys().cloned().collect());
        let chains = AuthChains::new(self.room.num, &graph, &self.engine.chains);
        let candidates = chains.difference(&conflict.sets(states)).await?.ok_or_else(missing)?;
        let difference = chains.less_shared(candidates, &graph).await?.ok_or_else(missing)?;
        let nums: Vec<EventNum> = conflict.nums().into_iter().collect();
        let chain = chains.chain(&nums).await?.ok_or_else(missing)?;
        self.load(events, chain).await?;
        Ok(difference)
    }

    /// Reads those entries that all states share and that the algorithm can ask for.
    async fn load_shared(
        self,
        events: &mut Events,
        base: NodeId,
        conflict: &Conflict,
        difference: &RoaringBitmap,
    ) -> Result<StateMap<OwnedEventId>, EngineError> {
        let rules = &self.room.rules.authorization;
        let mut wanted: BTreeSet<Slot> = events.pdus.values().filter_map(|pdu| slot_of(pdu)).collect();
        wanted.insert(("m.room.create".to_owned(), String::new()));
        let deciding = conflict.nums().into_iter().chain(difference);
        for pdu in deciding.filter_map(|num| events.by_num(num)) {
            let types = auth_types(&pdu.event_type, &pdu.sender, pdu.state_key.as_deref(), &pdu.content, rules);
            wanted.extend(types.unwrap_or_default().into_iter().map(|(kind, key)| (kind.to_string(), key)));
        }
        wanted.retain(|slot| !conflict.0.contains_key(slot));
        let keys: Vec<(&str, &str)> = wanted.iter().map(|(kind, key)| (kind.as_str(), key.as_str())).collect();
        let found = state_tree::get_many(&self.nodes(), base, &keys).await?;
        self.load(events, found.iter().flatten().copied()).await?;
        let mut shared = StateMap::new();
        for ((kind, key), num) in wanted.iter().zip(found) {
            let Some(num) = num else { continue };
            // By the power levels' own history the other events are ordered.
            if kind == "m.room.power_levels" && !matches!(self.room.rules.state_res, StateResolutionVersion::V1) {
                let graph = Graph::new(self, base, BTreeSet::new());
                let chains = AuthChains::new(self.room.num, &graph, &self.engine.chains);
                let chain = chains.chain(&[num]).await?;
                self.load(events, chain.unwrap_or_default()).await?;
            }
            if let Some(id) = events.ids.get(&num) {
                shared.insert((StateEventType::from(kind.as_str()), key.clone()), id.clone());
            }
        }
        Ok(shared)
    }

    async fn run(
        self,
        events: &Events,
        conflict: &Conflict,
        states: usize,
        shared: StateMap<OwnedEventId>,
        difference: &RoaringBitmap,
    ) -> Result<StateMap<OwnedEventId>, EngineError> {
        let mut conflicted: Vec<StateMap<OwnedEventId>> = vec![StateMap::new(); states];
        for ((kind, key), entries) in &conflict.0 {
            for (state, num) in conflicted.iter_mut().zip(entries) {
                if let Some(id) = num.and_then(|num| events.ids.get(&num)) {
                    state.insert((StateEventType::from(kind.as_str()), key.clone()), id.clone());
                }
            }
        }
        let difference = events.ids_of(difference);
        let rules = self.room.rules.clone();
        let pdus = events.pdus.clone();
        let large = pdus.len() > LARGE;
        let resolve = move || {
            let unconflicted = |kind: &StateEventType, key: &str| shared.get(&(kind.clone(), key.to_owned())).cloned();
            resolve_reduced(&rules, &conflicted, unconflicted, &difference, |id: &EventId| pdus.get(id).cloned())
        };
        let resolved = if large {
            let task = tokio::task::spawn_blocking(resolve).await;
            task.map_err(|error| EngineError::Inconsistent(error.to_string()))?
        } else {
            resolve()
        };
        Ok(resolved?)
    }

    async fn load(self, events: &mut Events, nums: impl IntoIterator<Item = EventNum>) -> Result<(), EngineError> {
        let new: BTreeSet<EventNum> = nums.into_iter().filter(|num| !events.ids.contains_key(num)).collect();
        for (num, pdu) in self.pdus(&new.into_iter().collect::<Vec<_>>()).await? {
            events.ids.insert(num, pdu.event_id.clone());
            events.nums.insert(pdu.event_id.clone(), num);
            events.pdus.insert(pdu.event_id.clone(), pdu);
        }
        Ok(())
    }

    /// Those of the events that are there.
    pub(crate) async fn pdus(self, nums: &[EventNum]) -> Result<Vec<(EventNum, Arc<Pdu>)>, EngineError> {
        let room = self.room.num;
        let mut out = Vec::with_capacity(nums.len());
        let mut missing = Vec::new();
        for num in nums {
            // What is in the overlay can still be dropped, and its number given to another event: it is not cached.
            if let Some(Some(bytes)) = self.overlay.peek(EVENTS.keyspace, &EVENTS.key(&(room, *num))) {
                out.push((*num, Arc::new(parse(&EVENTS.decode(bytes)?, self.room)?)));
            } else if let Some(pdu) = self.engine.kept_pdu(room, *num) {
                out.push((*num, pdu));
            } else {
                missing.push(*num);
            }
        }
        let seen = self.engine.rewrites();
        for (num, row) in self.engine.events(room, &missing).await? {
            let pdu = Arc::new(parse(&row, self.room)?);
            self.engine.keep_pdu(room, num, &pdu, seen);
            out.push((num, pdu));
        }
        Ok(out)
    }
}

/// The place of a state event in the state.
pub(crate) fn slot_of(pdu: &Pdu) -> Option<Slot> {
    Some((pdu.event_type.to_string(), pdu.state_key.clone()?))
}
