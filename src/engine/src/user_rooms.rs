//! Where users stand in rooms: rows for every local user, and a view in memory for those who are active.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::Mutex;
use ruma::events::room::member::MembershipState;
use store::{Db, Pos, StoreError, Value};

use crate::tables::{EventNum, RoomNum, USER_ROOMS, UserNum};

/// `membership` as one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Membership {
    /// `leave`, or never there.
    Leave = 0,
    /// `invite`
    Invite = 1,
    /// `join`
    Join = 2,
    /// `ban`
    Ban = 3,
    /// `knock`
    Knock = 4,
}

impl Membership {
    /// From the event's value; anything unknown is a leave.
    pub fn from_state(state: &MembershipState) -> Self {
        match state {
            MembershipState::Invite => Self::Invite,
            MembershipState::Join => Self::Join,
            MembershipState::Ban => Self::Ban,
            MembershipState::Knock => Self::Knock,
            _ => Self::Leave,
        }
    }

    /// As in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Invite => "invite",
            Self::Join => "join",
            Self::Ban => "ban",
            Self::Knock => "knock",
        }
    }

    /// As ruma has it.
    pub fn to_state(self) -> MembershipState {
        match self {
            Self::Leave => MembershipState::Leave,
            Self::Invite => MembershipState::Invite,
            Self::Join => MembershipState::Join,
            Self::Ban => MembershipState::Ban,
            Self::Knock => MembershipState::Knock,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Leave,
            1 => Self::Invite,
            2 => Self::Join,
            3 => Self::Ban,
            4 => Self::Knock,
            _ => return None,
        })
    }
}

/// A user's place in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRoom {
    /// The membership now.
    pub membership: Membership,
    /// The membership before the newest change of it.
    pub before: Membership,
    /// The user asked to forget the room.
    pub forgotten: bool,
    /// The newest membership event.
    pub num: EventNum,
    /// Its position.
    pub pos: Pos,
    /// The position since which the membership is what it is (a change of profile does not move it).
    pub since: Pos,
    /// The position at which the user last stopped being in the room, 0 where that never was.
    pub left: Pos,
}

impl Value for UserRoom {
    fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(31);
        out.extend_from_slice(&[self.membership as u8, self.before as u8, u8::from(self.forgotten)]);
        out.extend_from_slice(&self.num.to_be_bytes());
        out.extend_from_slice(&self.pos.to_be_bytes());
        out.extend_from_slice(&self.since.to_be_bytes());
        out.extend_from_slice(&self.left.to_be_bytes());
        Bytes::from(out)
    }

    fn decode(bytes: Bytes) -> Result<Self, String> {
        let raw: [u8; 31] = bytes[..].try_into().map_err(|_| "wrong length".to_owned())?;
        let (head, tail) = raw.split_at(7);
        let (pos, tail) = tail.split_at(8);
        let (since, left) = tail.split_at(8);
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap_or_default());
        Ok(Self {
            membership: Membership::from_byte(raw[0]).ok_or("unknown membership")?,
            before: Membership::from_byte(raw[1]).ok_or("unknown membership")?,
            forgotten: raw[2] != 0,
            num: u32::from_be_bytes(head.get(3..7).and_then(|raw| raw.try_into().ok()).unwrap_or_default()),
            pos: number(pos),
            since: number(since),
            left: number(left),
        })
    }
}

/// All rooms of a user that are not forgotten.
pub type RoomsOfUser = Arc<BTreeMap<RoomNum, UserRoom>>;

#[derive(Default)]
struct Slot {
    loaded: bool,
    rooms: RoomsOfUser,
}

/// Users whose rooms are kept in memory, at most.
const USERS_KEPT: usize = 50_000;

/// The rows with their view in memory.
pub struct UserRooms {
    db: Arc<Db>,
    slots: DashMap<UserNum, Arc<Mutex<Slot>>>,
    kept: AtomicUsize,
}

impl std::fmt::Debug for UserRooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRooms").field("users", &self.slots.len()).finish_non_exhaustive()
    }
}

impl UserRooms {
    pub(crate) fn new(db: Arc<Db>) -> Self {
        Self { db, slots: DashMap::new(), kept: AtomicUsize::new(0) }
    }

    /// The rooms of a user. Positions in it may be a moment ahead of the frontier.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn of(&self, user: UserNum) -> Result<RoomsOfUser, StoreError> {
        if let Some(slot) = self.slot(user) {
            let slot = slot.lock();
            if slot.loaded {
                return Ok(Arc::clone(&slot.rooms));
            }
        }
        // The slot exists before the rows are read, so that a commit that lands in between leaves its mark in it.
        let slot = Arc::clone(&*self.slots.entry(user).or_default());
        let rows = self.db.scan_all(&USER_ROOMS, &user).await?;
        let mut slot = slot.lock();
        let mut grown = false;
        if !slot.loaded {
            let rooms = Arc::make_mut(&mut slot.rooms);
            for ((_, room), row) in rows {
                if rooms.get(&room).is_none_or(|newer| newer.pos < row.pos) {
                    rooms.insert(room, row);
                }
            }
            slot.loaded = true;
            grown = self.kept.fetch_add(1, Ordering::Relaxed) > USERS_KEPT;
        }
        let rooms = Arc::clone(&slot.rooms);
        drop(slot);
        if grown {
            self.shrink(user);
        }
        Ok(rooms)
    }

    /// One room of a user.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, user: UserNum, room: RoomNum) -> Result<Option<UserRoom>, StoreError> {
        if let Some(slot) = self.slot(user) {
            let slot = slot.lock();
            if slot.loaded {
                return Ok(slot.rooms.get(&room).copied());
            }
        }
        self.db.get(&USER_ROOMS, &(user, room)).await
    }

    /// A user's slot, without the map's guard: a slot is locked only when no part of the map is.
    fn slot(&self, user: UserNum) -> Option<Arc<Mutex<Slot>>> {
        self.slots.get(&user).map(|slot| Arc::clone(&slot))
    }

    /// A commit landed.
    pub(crate) fn update(&self, user: UserNum, room: RoomNum, row: UserRoom) {
        let Some(slot) = self.slot(user) else { return };
        let mut slot = slot.lock();
        if slot.rooms.get(&room).is_none_or(|old| old.pos <= row.pos) {
            Arc::make_mut(&mut slot.rooms).insert(room, row);
        }
    }

    /// Drops half of what is kept, but for one user.
    fn shrink(&self, but: UserNum) {
        let drop: Vec<UserNum> =
            self.slots.iter().map(|slot| *slot.key()).filter(|user| *user != but).take(USERS_KEPT / 2).collect();
        for user in &drop {
            // A slot that somebody holds is being loaded or updated: it stays.
            self.slots.remove_if(user, |_, slot| Arc::strong_count(slot) == 1);
        }
        self.kept.store(self.slots.len(), Ordering::Relaxed);
    }
}
