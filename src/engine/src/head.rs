//! The speculative head of a room: its newest end as the writer sees it, ahead of what is durable.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::{Buf, BufMut, Bytes};
use room::fast::RoomAuthView;
use ruma::{OwnedEventId, events::room::member::MembershipState};
use store::{Db, Key, Keyspace, Op, Pos, StoreError, Table, Value};

use crate::{
    partial::PartialRow,
    room::RoomInfo,
    serve::ServerCounts,
    state_tree::NodeId,
    tables::{Arrival, Depth, EventNum},
};

/// One forward extremity: an accepted event that nothing accepted follows yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extremity {
    /// Its number.
    pub num: EventNum,
    /// Its depth.
    pub depth: Depth,
    /// Its id.
    pub event_id: OwnedEventId,
}

/// The durable part of a head. Every commit of a room requires the row it replaces, so that commits of a room form a
/// chain: when one is dropped, all that were built on it are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRow {
    /// Commits so far.
    pub seq: u64,
    /// The next event's number.
    pub next_num: EventNum,
    /// The next event's arrival.
    pub next_arrival: Arrival,
    /// The arrival of the next event of older history; counts down.
    pub next_backfill: Arrival,
    /// The current state: what the states after all [`Self::extremities`] resolve to. An event that follows all of them
    /// therefore has it as the state before it.
    pub root: NodeId,
    /// Where the room's graph ends.
    pub extremities: Vec<Extremity>,
}

impl HeadRow {
    /// Before the first event.
    pub fn empty() -> Self {
        Self { seq: 0, next_num: 1, next_arrival: 1, next_backfill: -1, root: NodeId::EMPTY, extremities: Vec::new() }
    }

    /// The depth of an event that follows all extremities.
    pub fn next_depth(&self) -> u64 {
        ::room::dag::next_depth(self.extremities.iter().map(|end| u64::try_from(end.depth).unwrap_or_default()))
    }
}

const HEAD_FORMAT: u8 = 1;

impl Value for HeadRow {
    fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64 + self.extremities.len() * 64);
        out.put_u8(HEAD_FORMAT);
        out.put_u64(self.seq);
        out.put_u32(self.next_num);
        out.put_i64(self.next_arrival);
        out.put_i64(self.next_backfill);
        out.put_slice(&self.root.0);
        for end in &self.extremities {
            out.put_u32(end.num);
            out.put_i64(end.depth);
            out.put_u16(u16::try_from(end.event_id.as_str().len()).unwrap_or(u16::MAX));
            out.put_slice(end.event_id.as_bytes());
        }
        Bytes::from(out)
    }

    fn decode(mut bytes: Bytes) -> Result<Self, String> {
        const FIXED: usize = 1 + 8 + 4 + 8 + 8 + 16;
        if bytes.len() < FIXED || bytes.get_u8() != HEAD_FORMAT {
            return Err("unknown format of room head".to_owned());
        }
        let mut row = Self {
            seq: bytes.get_u64(),
            next_num: bytes.get_u32(),
            next_arrival: bytes.get_i64(),
            next_backfill: bytes.get_i64(),
            root: NodeId::EMPTY,
            extremities: Vec::new(),
        };
        bytes.copy_to_slice(&mut row.root.0);
        while bytes.has_remaining() {
            if bytes.len() < 14 {
                return Err("room head ends early".to_owned());
            }
            let (num, depth, len) = (bytes.get_u32(), bytes.get_i64(), usize::from(bytes.get_u16()));
            if bytes.len() < len {
                return Err("room head ends early".to_owned());
            }
            let id = bytes.split_to(len);
            let id = std::str::from_utf8(&id).map_err(|error| error.to_string())?;
            let event_id = OwnedEventId::try_from(id).map_err(|error| error.to_string())?;
            row.extremities.push(Extremity { num, depth, event_id });
        }
        Ok(row)
    }
}

/// Rows that are queued but not yet durable, for the one who writes on top of them.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    rows: HashMap<(Keyspace, Bytes), (Pos, Option<Bytes>)>,
    order: VecDeque<(Pos, (Keyspace, Bytes))>,
    staged: HashMap<(Keyspace, Bytes), Option<Bytes>>,
}

impl Overlay {
    /// Remembers rows of a commit that is being put together.
    pub fn stage(&mut self, op: &Op) {
        match op {
            Op::Put(keyspace, key, value) => drop(self.staged.insert((*keyspace, key.clone()), Some(value.clone()))),
            Op::Delete(keyspace, key) => drop(self.staged.insert((*keyspace, key.clone()), None)),
            // The writer deletes no ranges.
            Op::DeleteRange(..) => {}
        }
    }

    /// The commit was queued: its rows are visible here until it is durable.
    pub fn queued(&mut self, pos: Pos) {
        for (key, value) in self.staged.drain() {
            self.order.push_back((pos, key.clone()));
            self.rows.insert(key, (pos, value));
        }
    }

    /// Forgets what is durable.
    pub fn prune(&mut self, frontier: Pos) {
        while let Some((pos, key)) = self.order.front() {
            if *pos > frontier {
                break;
            }
            if self.rows.get(key).is_some_and(|(newest, _)| newest <= &frontier) {
                self.rows.remove(key);
            }
            self.order.pop_front();
        }
    }

    /// A row as the writer sees it: `None` where the overlay says nothing.
    pub fn peek(&self, keyspace: Keyspace, key: &Bytes) -> Option<Option<Bytes>> {
        let key = (keyspace, key.clone());
        self.staged.get(&key).cloned().or_else(|| self.rows.get(&key).map(|(_, value)| value.clone()))
    }

    /// The keys that begin with `prefix` among the rows that are set here, in no order.
    pub fn keys_from<'a>(&'a self, keyspace: Keyspace, prefix: &'a [u8]) -> impl Iterator<Item = &'a Bytes> {
        let staged = self.staged.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key);
        let queued = self.rows.iter().filter(|(_, (_, value))| value.is_some()).map(|(key, _)| key);
        staged.chain(queued).filter(move |(at, key)| *at == keyspace && key.starts_with(prefix)).map(|(_, key)| key)
    }

    /// Reads a row through the overlay.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get<K: Key, V: Value>(&self, db: &Db, table: &Table<K, V>, key: &K) -> Result<Option<V>, StoreError> {
        let raw = table.key(key);
        let value = match self.peek(table.keyspace, &raw) {
            Some(value) => value,
            None => db.get_raw(table.keyspace, &raw).await?,
        };
        value.map(|value| table.decode(value)).transpose()
    }
}

/// A state event that the writer needs at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRef {
    /// Its number.
    pub num: EventNum,
    /// Its id.
    pub event_id: OwnedEventId,
}

/// A member as the writer remembers it.
#[derive(Debug, Clone)]
pub struct Member {
    /// The membership event.
    pub event: StateRef,
    /// What it says.
    pub membership: MembershipState,
}

/// Members kept in memory per room, at most; the rest is read when needed.
const MEMBERS_KEPT: usize = 1024;
/// States after events remembered per room, at most: those at which the room's graph ends are asked for with every event that comes.
const STATES_KEPT: usize = 1024;

/// What the writer knows of a room.
#[derive(Debug, Clone)]
pub struct Head {
    /// The newest row, queued or durable.
    pub row: HeadRow,
    /// The same, encoded; `None` before the room's first commit.
    pub encoded: Option<Bytes>,
    /// The parsed state that decides about most events; `None` before the create event.
    pub auth: Option<Arc<RoomAuthView>>,
    /// `m.room.create`
    pub create: Option<StateRef>,
    /// `m.room.power_levels`
    pub power_levels: Option<StateRef>,
    /// What readers will see once everything queued is durable.
    pub info: RoomInfo,
    /// Joined members of other servers.
    pub servers: ServerCounts,
    /// What is known to be missing of the room's state.
    pub partial: Option<PartialRow>,
    /// Queued rows.
    pub overlay: Overlay,
    /// What some sets of states, by their roots in order, resolved to: branches that live on are resolved once.
    pub resolved: VecDeque<(Vec<NodeId>, NodeId)>,
    after: HashMap<(NodeId, EventNum), NodeId>,
    members: HashMap<String, Option<Member>>,
}

impl Head {
    /// The head of a room that has no events yet.
    pub fn new(row: HeadRow, encoded: Option<Bytes>, info: RoomInfo) -> Self {
        Self {
            row,
            encoded,
            auth: None,
            create: None,
            power_levels: None,
            info,
            servers: ServerCounts::default(),
            partial: None,
            overlay: Overlay::default(),
            resolved: VecDeque::new(),
            after: HashMap::new(),
            members: HashMap::new(),
        }
    }

    /// The state after an event, by the state before it, where it was made already: its nodes are written then.
    pub fn after(&self, before: NodeId, num: EventNum) -> Option<NodeId> {
        self.after.get(&(before, num)).copied()
    }

    /// Remembers the state after an event.
    pub fn remember_after(&mut self, before: NodeId, num: EventNum, root: NodeId) {
        if self.after.len() >= STATES_KEPT {
            self.after.clear();
        }
        self.after.insert((before, num), root);
    }

    /// The remembered member: `None` where nothing is remembered, `Some(None)` where there is none.
    pub fn member(&self, user_id: &str) -> Option<&Option<Member>> {
        self.members.get(user_id)
    }

    /// Remembers a member.
    pub fn remember(&mut self, user_id: &str, member: Option<Member>) {
        if self.members.len() >= MEMBERS_KEPT {
            self.members.clear();
        }
        self.members.insert(user_id.to_owned(), member);
    }

    /// Forgets all members, as when one was redacted.
    pub fn forget_members(&mut self) {
        self.members.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruma::EventId;

    #[test]
    fn head_rows_read_back() {
        let row = HeadRow {
            seq: 4,
            next_num: 77,
            next_arrival: 70,
            next_backfill: -9,
            root: NodeId([3; 16]),
            extremities: vec![
                Extremity { num: 5, depth: 9, event_id: EventId::parse("$one").unwrap() },
                Extremity { num: 6, depth: 12, event_id: EventId::parse("$two:x").unwrap() },
            ],
        };
        assert_eq!(HeadRow::decode(row.encode()).unwrap(), row);
        assert_eq!(row.next_depth(), 13);
        assert!(HeadRow::decode(row.encode().slice(..60)).is_err());
    }
}
