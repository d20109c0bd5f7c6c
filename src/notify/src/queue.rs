//! Which pushers have something to look at, and when: in memory alone, small for each pusher, and found again after a restart.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use smallvec::SmallVec;
use store::Pos;
use tokio::{sync::Notify as Wake, time::Instant};
use users::UserNum;

use crate::{RoomNum, tables::PusherNum};

/// Rooms that a pusher remembers by number; when there are more, it looks at all of its user's.
const MANY: usize = 64;
/// Turns of one user's pushers at a time: a gateway that hangs holds up few others.
const PER_USER: usize = 3;
/// Turns at a time whose notifications go to one host: one that hangs leaves places for the others.
pub(crate) const PER_HOST: usize = 32;

/// Rooms in which a user's pusher has to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rooms {
    /// All that the user is in or invited to.
    All,
    /// These.
    These(BTreeSet<RoomNum>),
}

impl Default for Rooms {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Rooms {
    fn add(&mut self, room: RoomNum) {
        if let Self::These(rooms) = self {
            rooms.insert(room);
            if rooms.len() > MANY {
                *self = Self::All;
            }
        }
    }

    fn add_all(&mut self, others: Self) {
        match others {
            Self::All => *self = Self::All,
            Self::These(rooms) => rooms.into_iter().for_each(|room| self.add(room)),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::These(rooms) if rooms.is_empty())
    }
}

/// A pusher's turn.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) user: UserNum,
    pub(crate) num: PusherNum,
    /// What lies behind this position is to be looked at.
    pub(crate) after: Pos,
    pub(crate) rooms: Rooms,
}

/// What became of a turn.
#[derive(Debug)]
pub(crate) enum Done {
    /// Everything up to a position was looked at and sent.
    UpTo(Pos),
    /// Not everything could be sent: from a position on, in these rooms, after some time.
    Later {
        from: Pos,
        rooms: Rooms,
        wait: Duration,
        /// Whether its row says so.
        kept: bool,
    },
    /// There is no such pusher any more.
    Gone,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Idle,
    Ready,
    Running,
    Waiting { until: Instant, kept: bool },
}

#[derive(Debug)]
struct Slot {
    num: PusherNum,
    at: Pos,
    rooms: Rooms,
    state: State,
    /// Where its notifications go; known from its first turn on.
    host: Option<Arc<str>>,
}

type Key = (UserNum, PusherNum);

#[derive(Default)]
struct Slots {
    users: HashMap<UserNum, SmallVec<[Slot; 1]>>,
    ready: VecDeque<Key>,
    timers: BTreeSet<(Instant, Key)>,
    /// To which host the turns go that are being taken.
    running: HashMap<Key, Arc<str>>,
    /// How many of them there are to each host.
    at_host: HashMap<Arc<str>, usize>,
    /// Whose turn it is, as soon as there is a place for their host.
    parked: BTreeMap<Arc<str>, VecDeque<Key>>,
}

/// What happened in a room since it was last looked at who is concerned.
#[derive(Default)]
struct Fresh {
    /// The frontier when it was heard: it has landed where the frontier is beyond.
    frontier: Pos,
    members: Option<Arc<[UserNum]>>,
    users: SmallVec<[UserNum; 2]>,
}

#[derive(Default)]
pub(crate) struct Queue {
    /// Apart from the slots: commits wait for nothing but an entry here.
    fresh: Mutex<HashMap<RoomNum, Fresh>>,
    slots: Mutex<Slots>,
    /// Whether there is any pusher.
    any: AtomicBool,
    pub(crate) wake: Wake,
}

impl Slots {
    fn get(&mut self, (user, num): Key) -> Option<&mut Slot> {
        self.users.get_mut(&user)?.iter_mut().find(|slot| slot.num == num)
    }

    /// Says that there is something to look at for a user in a room.
    fn mark(&mut self, user: UserNum, room: RoomNum) {
        for slot in self.users.get_mut(&user).into_iter().flatten() {
            slot.rooms.add(room);
            if slot.state == State::Idle {
                slot.state = State::Ready;
                self.ready.push_back((user, slot.num));
            }
        }
    }

    fn make_ready(&mut self, key: Key) {
        if let Some(slot) = self.get(key) {
            slot.state = State::Ready;
            self.ready.push_back(key);
        }
    }

    /// Counts a turn among those to its host, once.
    fn enter(&mut self, key: Key, host: &Arc<str>) {
        if let Entry::Vacant(place) = self.running.entry(key) {
            place.insert(Arc::clone(host));
            *self.at_host.entry(Arc::clone(host)).or_default() += 1;
        }
    }

    fn leave(&mut self, key: Key) {
        let Some(host) = self.running.remove(&key) else { return };
        if let Some(count) = self.at_host.get_mut(&host) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.at_host.remove(&host);
            }
        }
    }

    fn is_full(&self, host: &str) -> bool {
        self.at_host.get(host).is_some_and(|count| *count >= PER_HOST)
    }

    /// Brings back as many as there are places for their hosts now.
    fn unpark(&mut self) {
        let Self { parked, at_host, ready, .. } = self;
        parked.retain(|host, keys| {
            let free = PER_HOST.saturating_sub(at_host.get(host).copied().unwrap_or_default());
            let back = keys.drain(..free.min(keys.len()));
            back.rev().for_each(|key| ready.push_front(key));
            !keys.is_empty()
        });
    }

    fn remove(&mut self, (user, num): Key) {
        if let Some(slots) = self.users.get_mut(&user) {
            slots.retain(|slot| slot.num != num);
            if slots.is_empty() {
                self.users.remove(&user);
            }
        }
    }
}

impl Queue {
    /// Notes what a commit brings that is about to be visible. `frontier`: up to where commits are visible already.
    pub(crate) fn heard(&self, room: RoomNum, frontier: Pos, members: Option<Arc<[UserNum]>>, users: &[UserNum]) {
        {
            let mut fresh = self.fresh.lock();
            let entry = fresh.entry(room).or_default();
            entry.frontier = entry.frontier.max(frontier);
            if members.is_some() {
                entry.members = members;
            }
            for user in users {
                if !entry.users.contains(user) {
                    entry.users.push(*user);
                }
            }
        }
        if self.any.load(Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    /// Marks the pushers of those who are concerned by what was heard and is visible up to a position. Whether there is more, which will be
    /// in a moment.
    pub(crate) fn spread(&self, to: Pos) -> bool {
        let mut fresh = self.fresh.lock();
        if fresh.is_empty() {
            return false;
        }
        let landed: Vec<_> = fresh.extract_if(|_, fresh| fresh.frontier < to).collect();
        let more = !fresh.is_empty();
        drop(fresh);
        let mut slots = self.slots.lock();
        for (room, Fresh { members, users, .. }) in landed {
            for user in members.iter().flat_map(|members| members.iter()).chain(&users) {
                slots.mark(*user, room);
            }
        }
        more
    }

    /// A pusher that has everything up to a position. It looks at all rooms once: something may have happened since.
    pub(crate) fn add(&self, user: UserNum, num: PusherNum, at: Pos) {
        self.insert(user, Slot { num, at, rooms: Rooms::All, state: State::Ready, host: None });
    }

    /// A pusher that has nothing to look at.
    pub(crate) fn add_idle(&self, user: UserNum, num: PusherNum, at: Pos) {
        self.insert(user, Slot { num, at, rooms: Rooms::default(), state: State::Idle, host: None });
    }

    /// A pusher that waits.
    pub(crate) fn add_waiting(&self, user: UserNum, num: PusherNum, at: Pos, wait: Duration) {
        let state = State::Waiting { until: Instant::now() + wait, kept: true };
        self.insert(user, Slot { num, at, rooms: Rooms::All, state, host: None });
    }

    fn insert(&self, user: UserNum, slot: Slot) {
        let key = (user, slot.num);
        let mut slots = self.slots.lock();
        if slots.get(key).is_some() {
            return;
        }
        match slot.state {
            State::Ready => slots.ready.push_back(key),
            State::Waiting { until, .. } => drop(slots.timers.insert((until, key))),
            State::Idle | State::Running => {}
        }
        slots.users.entry(user).or_default().push(slot);
        drop(slots);
        self.any.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// A pusher that waits does so no longer.
    pub(crate) fn try_now(&self, user: UserNum, num: PusherNum) {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get((user, num))
            && let State::Waiting { until, .. } = slot.state
        {
            slots.timers.remove(&(until, (user, num)));
            slots.make_ready((user, num));
            self.wake.notify_one();
        }
    }

    pub(crate) fn remove(&self, user: UserNum, num: PusherNum) {
        self.slots.lock().remove((user, num));
    }

    /// The next turn. To be called after [`Queue::spread`], and that after the frontier was read: so its rooms are all in which something
    /// happened up to there.
    pub(crate) fn next(&self) -> Option<Job> {
        let mut slots = self.slots.lock();
        slots.unpark();
        for _ in 0..slots.ready.len() {
            let key = slots.ready.pop_front()?;
            let of_user = slots.users.get(&key.0).map_or(&[][..], |slots| slots);
            if of_user.iter().filter(|slot| slot.state == State::Running).count() >= PER_USER {
                slots.ready.push_back(key);
                continue;
            }
            let Some(slot) = slots.get(key).filter(|slot| slot.state == State::Ready) else { continue };
            let host = slot.host.clone();
            if let Some(host) = host.as_ref().filter(|host| slots.is_full(host)) {
                slots.parked.entry(Arc::clone(host)).or_default().push_back(key);
                continue;
            }
            if let Some(host) = &host {
                slots.enter(key, host);
            }
            let slot = slots.get(key)?;
            slot.state = State::Running;
            let rooms = std::mem::take(&mut slot.rooms);
            return Some(Job { user: key.0, num: key.1, after: slot.at, rooms });
        }
        None
    }

    /// A pusher that has its turn sends to this host.
    pub(crate) fn sends_to(&self, key: Key, host: &str) {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get(key).filter(|slot| slot.state == State::Running) else { return };
        if slot.host.as_deref() != Some(host) {
            slot.host = Some(Arc::from(host));
        }
        if let Some(host) = slot.host.clone() {
            slots.enter(key, &host);
        }
    }

    pub(crate) fn done(&self, key: Key, done: Done) {
        let mut slots = self.slots.lock();
        slots.leave(key);
        let Some(slot) = slots.get(key) else { return };
        match done {
            Done::UpTo(pos) => {
                slot.at = pos;
                slot.state = State::Idle;
                if !slot.rooms.is_empty() {
                    slots.make_ready(key);
                }
            }
            Done::Later { from, rooms, wait, kept } => {
                let until = Instant::now() + wait;
                slot.at = from;
                slot.rooms.add_all(rooms);
                slot.state = State::Waiting { until, kept };
                slots.timers.insert((until, key));
            }
            Done::Gone => slots.remove(key),
        }
    }

    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.slots.lock().timers.first().map(|(at, _)| *at)
    }

    /// Those whose time has come have their turn.
    pub(crate) fn fire(&self) {
        let now = Instant::now();
        let mut slots = self.slots.lock();
        while let Some((at, key)) = slots.timers.first().copied().filter(|(at, _)| *at <= now) {
            slots.timers.remove(&(at, key));
            if slots.get(key).is_some_and(|slot| matches!(slot.state, State::Waiting { until, .. } if until == at)) {
                slots.make_ready(key);
            }
        }
    }

    /// The position, up to the frontier, up to which every pusher has looked at everything, but for those whose rows say that they wait; `None`
    /// while that is not clear. The frontier has to be read before.
    pub(crate) fn looked_up_to(&self, frontier: Pos) -> Option<Pos> {
        if !self.fresh.lock().is_empty() {
            return None;
        }
        let slots = self.slots.lock();
        let behind =
            |state: &State| matches!(state, State::Ready | State::Running | State::Waiting { kept: false, .. });
        let busy = slots.users.values().flatten().filter(|slot| behind(&slot.state));
        Some(busy.map(|slot| slot.at).min().map_or(frontier, |at| at.min(frontier)))
    }
}

#[cfg(test)]
mod tests;
