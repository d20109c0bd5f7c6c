//! A room replayed from its events, with whole states: what its rows are compared with.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use room::{
    Pdu,
    pdu::SharedPdu,
    resolve::{StateMap, auth_chain, resolve},
};
use ruma::{EventId, OwnedEventId, events::StateEventType};
use store::Pos;

use crate::{
    engine::Engine,
    error::EngineError,
    extend::MAX_BEHIND,
    resolution::{Slot, slot_of},
    room::Room,
    row::{EventRow, StateFrom, Verdict},
    state_tree::{self, Key, NodeId},
    tables::EventNum,
};

type State = BTreeMap<Slot, EventNum>;

/// A room up to some event.
pub(crate) struct Replay<'a> {
    engine: &'a Engine,
    room: &'a Room,
    state_events: HashMap<OwnedEventId, SharedPdu>,
    nums: HashMap<OwnedEventId, EventNum>,
    ids: HashMap<EventNum, OwnedEventId>,
    /// The state before each event, and its place in the state where it changes that.
    places: HashMap<OwnedEventId, (NodeId, Option<Slot>)>,
    /// The current state.
    pub(crate) state: State,
    /// Its root.
    pub(crate) root: NodeId,
    /// Since when each entry of it holds.
    pub(crate) since: HashMap<Slot, Pos>,
    /// The forward extremities.
    pub(crate) ends: BTreeMap<OwnedEventId, EventNum>,
    /// The root from a position on, where it changed.
    pub(crate) roots: BTreeMap<Pos, NodeId>,
    /// What each state event cites.
    citing: Vec<(EventNum, Vec<OwnedEventId>)>,
    /// What each event follows, where it has its own place in the graph.
    following: HashMap<OwnedEventId, (EventNum, Vec<OwnedEventId>)>,
    /// What events of the room follow.
    followed: HashSet<OwnedEventId>,
    /// Events that are no part of the room.
    outside: HashSet<OwnedEventId>,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(engine: &'a Engine, room: &'a Room) -> Self {
        Self {
            engine,
            room,
            state_events: HashMap::new(),
            nums: HashMap::new(),
            ids: HashMap::new(),
            places: HashMap::new(),
            state: State::new(),
            root: NodeId::EMPTY,
            since: HashMap::new(),
            ends: BTreeMap::new(),
            roots: BTreeMap::new(),
            citing: Vec::new(),
            following: HashMap::new(),
            followed: HashSet::new(),
            outside: HashSet::new(),
        }
    }

    /// Tells of an event before all are added: what others cite, and what is in a state that was told, may have got its own place in
    /// the room only later.
    pub(crate) fn know(&mut self, num: EventNum, pdu: Pdu) {
        self.nums.insert(pdu.event_id.clone(), num);
        self.ids.insert(num, pdu.event_id.clone());
        if pdu.state_key.is_some() {
            self.citing.push((num, pdu.auth_events.clone()));
            self.state_events.insert(pdu.event_id.clone(), pdu.into());
        }
    }

    /// Adds the next event. Whether the state before it is what the row says.
    pub(crate) async fn add(&mut self, num: EventNum, row: &EventRow, pdu: Pdu) -> Result<bool, EngineError> {
        let id = pdu.event_id.clone();
        let slot = slot_of(&pdu);
        if row.outlier() {
            return Ok(true);
        }
        let in_line = row.state_from() == StateFrom::Graph
            && !row.is_history()
            && self.ends.len() == pdu.prev_events.iter().collect::<BTreeSet<_>>().len()
            && pdu.prev_events.iter().all(|prev| self.ends.contains_key(prev));
        let before = match row.state_from() {
            // It is judged again once the state is whole.
            StateFrom::Graph if row.partial_state() => row.state_before(),
            StateFrom::Graph if in_line => self.root,
            StateFrom::Graph => root_of(&self.meeting(&pdu.prev_events).await?)?,
            StateFrom::Told | StateFrom::Anew => row.state_before(),
        };
        let changes = slot.clone().filter(|_| row.verdict() != Verdict::Rejected);
        self.places.insert(id.clone(), (before, changes));
        self.following.insert(id.clone(), (num, pdu.prev_events.clone()));
        let prev = pdu.prev_events.clone();
        if !row.in_room() {
            self.outside.insert(id);
            return Ok(row.state_before() == before);
        }
        let followed = self.followed.contains(&id);
        self.followed.extend(prev.iter().cloned());
        if row.in_stream() {
            let behind = self.behind(&prev);
            self.ends.retain(|end, _| row.state_from() != StateFrom::Anew && !behind.contains(end));
            if !followed || self.ends.is_empty() {
                self.ends.insert(id.clone(), num);
            }
            let in_line = in_line && self.ends.len() == 1 && self.ends.contains_key(&id);
            self.enter(num, row.pos(), in_line, slot).await?;
        }
        Ok(row.state_before() == before)
    }

    /// What an event with these predecessors follows: directly, or through such as are no part of the room.
    fn behind(&self, prev: &[OwnedEventId]) -> BTreeSet<OwnedEventId> {
        let mut behind: BTreeSet<OwnedEventId> = prev.iter().cloned().collect();
        let mut open: Vec<OwnedEventId> = behind.iter().cloned().collect();
        for _ in 0..MAX_BEHIND {
            let Some(id) = open.pop() else { break };
            let outside = Some(&id).filter(|id| self.outside.contains(*id)).and_then(|id| self.following.get(id));
            for prev in outside.into_iter().flat_map(|(_, prev)| prev) {
                if behind.insert(prev.clone()) {
                    open.push(prev.clone());
                }
            }
        }
        behind
    }

    /// Who cites whom: the one that is cited first.
    pub(crate) fn cited(&self) -> BTreeSet<(EventNum, EventNum)> {
        let cited = |(num, ids): &(EventNum, Vec<OwnedEventId>)| {
            let num = *num;
            ids.iter().filter_map(|id| Some((*self.nums.get(id)?, num))).collect::<Vec<_>>()
        };
        self.citing.iter().flat_map(cited).collect()
    }

    /// What is followed but has no place in the graph, each with who follows it.
    pub(crate) fn gaps(&self) -> BTreeSet<(String, EventNum)> {
        let gap = |prev: &&OwnedEventId| !self.following.contains_key(*prev);
        let gaps = |(num, prev): &(EventNum, Vec<OwnedEventId>)| {
            prev.iter().filter(gap).map(|id| (id.to_string(), *num)).collect::<Vec<_>>()
        };
        self.following.values().flat_map(gaps).collect()
    }

    async fn enter(&mut self, num: EventNum, pos: Pos, in_line: bool, slot: Option<Slot>) -> Result<(), EngineError> {
        let mut state = None;
        if !in_line {
            let ends: Vec<OwnedEventId> = self.ends.keys().cloned().collect();
            state = Some(self.meeting(&ends).await?);
        } else if let Some(slot) = slot {
            let mut changed = self.state.clone();
            changed.insert(slot, num);
            state = Some(changed);
        }
        let Some(state) = state.filter(|state| *state != self.state) else { return Ok(()) };
        self.since.retain(|slot, _| state.contains_key(slot));
        for (slot, num) in &state {
            if self.state.get(slot) != Some(num) {
                self.since.insert(slot.clone(), pos);
            }
        }
        self.root = root_of(&state)?;
        self.roots.insert(pos, self.root);
        self.state = state;
        Ok(())
    }

    /// What the states after these events resolve to.
    async fn meeting(&self, events: &[OwnedEventId]) -> Result<State, EngineError> {
        let mut states = Vec::with_capacity(events.len());
        for id in events {
            states.push(self.after(id).await?);
        }
        let fetch = |id: &EventId| self.state_events.get(id).cloned();
        let resolved = resolve(&self.room.rules, &states, fetch, |state| auth_chain(state.values(), fetch))?;
        let entries =
            resolved.into_iter().map(|((kind, key), id)| Some(((kind.to_string(), key), *self.nums.get(&id)?)));
        entries
            .collect::<Option<State>>()
            .ok_or_else(|| EngineError::Inconsistent("an event came from nowhere".to_owned()))
    }

    async fn after(&self, id: &EventId) -> Result<StateMap<OwnedEventId>, EngineError> {
        let missing = || EngineError::Inconsistent(format!("{id} is followed, but not there before"));
        let (before, changes) = self.places.get(id).ok_or_else(missing)?;
        let mut state = StateMap::new();
        for (kind, key, num) in self.engine.entries_at(self.room.num, *before).await? {
            let id = self.ids.get(&num).ok_or_else(missing)?;
            state.insert((StateEventType::from(kind), key), id.clone());
        }
        if let Some((kind, key)) = changes {
            state.insert((StateEventType::from(kind.as_str()), key.clone()), id.to_owned());
        }
        Ok(state)
    }
}

fn root_of(state: &State) -> Result<NodeId, EngineError> {
    let entries = state.iter().map(|((kind, key), num)| (Key::new(kind.as_str(), key.as_str()), *num));
    Ok(state_tree::build(entries)?.root)
}
