//! A room in memory: what readers see of it, and its writer's lock.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex as SyncMutex;
use room::{RoomVersionRules, fast::RoomAuthView, policy::Policy};
use ruma::{OwnedRoomId, RoomVersionId};
use store::Pos;
use tokio::sync::{Mutex, Notify};

use crate::{
    head::Head,
    row::Visibility,
    serve::ServerAcl,
    state_tree::NodeId,
    tables::{Depth, EventNum, RoomNum, ServerNum, UserNum},
};

/// What is known of a room's current state without reading it: replaced whole when a commit that changes it is durable.
#[derive(Debug, Clone)]
pub struct RoomInfo {
    /// Create event, power levels, join rules and history visibility, parsed; `None` before the create event.
    pub auth: Option<Arc<RoomAuthView>>,
    /// The current state.
    pub root: NodeId,
    /// Joined users of this server.
    pub local_members: Arc<[UserNum]>,
    /// The other servers that have joined members, by their numbers.
    pub servers: Arc<[ServerNum]>,
    /// Joined members.
    pub joined: u64,
    /// Invited members.
    pub invited: u64,
    /// `history_visibility` now.
    pub visibility: Visibility,
    /// Whether `m.room.encryption` is set.
    pub encrypted: bool,
    /// `m.room.server_acl`, where there is one.
    pub acl: Option<Arc<ServerAcl>>,
    /// `m.room.policy`, where there is a valid one: the room uses it while it has joined members at the policy server.
    pub policy: Option<Arc<Policy>>,
    /// `m.room.create`'s type, such as `m.space`.
    pub room_type: Option<String>,
    /// Not all members are known yet: the room was entered a moment ago.
    pub partial: bool,
}

impl RoomInfo {
    /// Before the first event.
    pub fn empty() -> Self {
        Self {
            auth: None,
            root: NodeId::EMPTY,
            local_members: Arc::from([]),
            servers: Arc::from([]),
            joined: 0,
            invited: 0,
            visibility: Visibility::Shared,
            encrypted: false,
            acl: None,
            policy: None,
            room_type: None,
            partial: false,
        }
    }
}

/// The newest positions of a room: what tells a sync that it has nothing to read here.
#[derive(Debug, Default)]
pub struct Pulse {
    timeline: AtomicU64,
    receipts: AtomicU64,
    filled: AtomicU64,
    deepest: AtomicI64,
}

impl Pulse {
    /// The position of the newest event.
    pub fn timeline(&self) -> Pos {
        self.timeline.load(Ordering::Acquire)
    }

    /// The position of the newest receipt.
    pub fn receipts(&self) -> Pos {
        self.receipts.load(Ordering::Acquire)
    }

    /// The position at which its state was filled in last, without an event; 0 for most rooms.
    pub fn filled(&self) -> Pos {
        self.filled.load(Ordering::Acquire)
    }

    pub(crate) fn filled_at(&self, pos: Pos) {
        self.filled.fetch_max(pos, Ordering::AcqRel);
    }

    /// The depth of the deepest event.
    pub fn deepest(&self) -> Depth {
        self.deepest.load(Ordering::Acquire)
    }

    pub(crate) fn deepest_at(&self, depth: Depth) {
        self.deepest.fetch_max(depth, Ordering::AcqRel);
    }

    pub(crate) fn timeline_at(&self, pos: Pos) {
        self.timeline.fetch_max(pos, Ordering::AcqRel);
    }

    pub(crate) fn receipts_at(&self, pos: Pos) {
        self.receipts.fetch_max(pos, Ordering::AcqRel);
    }
}

/// The newest events of a room in the order in which this server saw them, so that who follows a room reads no index.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Every event behind this position is in the list.
    since: Pos,
    events: VecDeque<(Pos, EventNum)>,
}

/// Events in a [`Tail`], at most.
const TAIL: usize = 64;

impl Tail {
    /// A tail that knows nothing up to a position.
    fn starting(since: Pos) -> Self {
        Self { since, events: VecDeque::new() }
    }

    fn push(&mut self, pos: Pos, num: EventNum) {
        if self.events.len() == TAIL
            && let Some((oldest, _)) = self.events.pop_front()
        {
            self.since = oldest;
        }
        self.events.push_back((pos, num));
    }

    /// The events behind `after` and up to `to`, oldest first; `None` where it does not reach back so far.
    fn between(&self, after: Pos, to: Pos) -> Option<Vec<(Pos, EventNum)>> {
        let first = self.events.partition_point(|(pos, _)| *pos <= after);
        (after >= self.since).then(|| self.events.range(first..).take_while(|(pos, _)| *pos <= to).copied().collect())
    }
}

/// A room that this server knows.
pub struct Room {
    /// Its number.
    pub num: RoomNum,
    /// Its id.
    pub id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersionId,
    /// The rules of that version.
    pub rules: RoomVersionRules,
    /// Where its newest events and receipts are.
    pub pulse: Pulse,
    tail: SyncMutex<Tail>,
    info: ArcSwap<RoomInfo>,
    pub(crate) writer: Arc<Mutex<Option<Head>>>,
    pub(crate) broken: AtomicBool,
    /// Told when all members are known.
    pub(crate) made_whole: Notify,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("num", &self.num).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Room {
    pub(crate) fn new(
        num: RoomNum,
        id: OwnedRoomId,
        version: RoomVersionId,
        rules: RoomVersionRules,
        head: Head,
    ) -> Self {
        Self {
            num,
            id,
            version,
            rules,
            pulse: Pulse::default(),
            tail: SyncMutex::default(),
            info: ArcSwap::from_pointee(head.info.clone()),
            writer: Arc::new(Mutex::new(Some(head))),
            broken: AtomicBool::new(false),
            made_whole: Notify::new(),
        }
    }

    /// Whether an event's id is its hash, as from version 3 on: before that the sender's server chooses it.
    pub fn names_events_by_hash(&self) -> bool {
        !self.rules.event_format.require_event_id
    }

    /// What is durable and known of its state.
    pub fn info(&self) -> Arc<RoomInfo> {
        self.info.load_full()
    }

    /// Nothing up to this position is in the tail, everything behind it will be: for a room that was read from the store.
    pub(crate) fn tail_from(&self, since: Pos) {
        *self.tail.lock() = Tail::starting(since);
    }

    /// Events landed, in the order of their positions.
    pub(crate) fn landed(&self, events: impl Iterator<Item = (Pos, EventNum)>) {
        let mut tail = self.tail.lock();
        for (pos, num) in events {
            tail.push(pos, num);
        }
    }

    pub(crate) fn recent(&self, after: Pos, to: Pos) -> Option<Vec<(Pos, EventNum)>> {
        self.tail.lock().between(after, to)
    }

    pub(crate) fn publish(&self, info: Arc<RoomInfo>) {
        self.info.store(info);
    }
}
