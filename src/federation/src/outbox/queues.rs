//! Which destinations have something to send, and when: what is in memory of the outbox. A destination is in it while there is something
//! to send or to wait for, and is otherwise known by its rows alone.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use engine::ServerNum;
use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};
use serde_json::value::RawValue;
use tokio::{sync::Notify, time::Instant};

use super::{
    backoff::SHORTEST,
    edus::{News, Pending},
};

/// Destinations that are being sent to, at most.
pub(super) const MAX_SENDING: usize = 64;
/// Of these, such as failed or took long lately: whoever keeps us waiting on purpose leaves places for the others.
pub(super) const MAX_SLOW: usize = 16;
/// A transaction that takes so long is a long one, and its destination a slow one for a time, or until it answers sooner.
pub(super) const LONG: Duration = Duration::from_secs(10);
const SLOW_FOR: Duration = Duration::from_secs(600);
/// Slow destinations that are remembered, at most.
const MAX_REMEMBERED: usize = 10_000;
/// A destination that is down and sends us something is tried at once, so often at most.
pub(super) const LIFT_EVERY: Duration = Duration::from_secs(60);
/// Events queued for a destination that is down, after which they are collapsed without waiting for it.
const COLLAPSE_AFTER: usize = 1000;

/// What is to be done for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// Sends the next transaction; `due` where the wait that its rows ask for is over.
    Send { due: bool },
    /// Makes its rows fewer.
    Collapse,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    /// A transaction was taken (or given up); there may be more.
    Sent { more: bool },
    /// There was nothing to send.
    Idle,
    /// To be tried again after a time.
    Wait { name: OwnedServerName, time: Duration },
    /// The same, where that is not the destination's fault.
    Later { time: Duration },
    /// The rows were collapsed.
    Collapsed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Ready { due: bool },
    Sending { since: Instant, slow: bool },
    Waiting { until: Instant, not_before: Instant },
    Collapsing { until: Instant, not_before: Instant },
}

#[derive(Debug)]
struct Destination {
    phase: Phase,
    /// Something came while it was being sent to.
    again: bool,
    /// It was heard from while it was being sent to.
    heard: bool,
    /// Known where it is down.
    name: Option<OwnedServerName>,
    /// When a wait for it ended early because it was heard from.
    lifted: Option<Instant>,
    /// Events queued since it went down.
    queued: usize,
    edus: Pending,
}

#[derive(Debug, Default)]
struct Inner {
    destinations: HashMap<ServerNum, Destination>,
    ready: VecDeque<ServerNum>,
    /// The same of the slow ones.
    ready_slow: VecDeque<ServerNum>,
    /// Until when destinations that took long are slow ones.
    slow: HashMap<ServerNum, Instant>,
    collapse: VecDeque<ServerNum>,
    timers: BTreeSet<(Instant, ServerNum)>,
    down: HashMap<OwnedServerName, ServerNum>,
    sending: usize,
    sending_slow: usize,
}

/// All destinations with something to do.
#[derive(Debug, Default)]
pub(super) struct Queues {
    inner: Mutex<Inner>,
    /// Told when there is a new job.
    pub(super) wake: Notify,
}

/// How many destinations stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) ready: usize,
    pub(super) sending: usize,
    pub(super) waiting: usize,
}

impl Queues {
    /// Events were queued for these.
    pub(super) fn queued(&self, servers: &[ServerNum]) {
        let mut inner = self.inner.lock();
        for server in servers {
            inner.queued(*server);
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// There is something to tell these.
    pub(super) fn tell(&self, servers: &[ServerNum], news: &News) {
        let mut inner = self.inner.lock();
        for server in servers {
            let destination = inner.touch(*server);
            let down = matches!(destination.phase, Phase::Waiting { .. } | Phase::Collapsing { .. });
            destination.edus.add(news.clone(), down);
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// A server showed that it is there: where it is waited for, the wait ends.
    pub(super) fn heard_from(&self, name: &ServerName) {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        let Some(server) = inner.down.get(name).copied() else { return };
        inner.heard(server, now);
        drop(inner);
        self.wake.notify_one();
    }

    /// The next job, unless enough are being done. Its end is told by [`Queues::done`].
    pub(super) fn next(&self) -> Option<(ServerNum, Job)> {
        let mut inner = self.inner.lock();
        if inner.sending >= MAX_SENDING {
            return None;
        }
        while let Some((server, slow)) = inner.pop_ready() {
            let Some(destination) = inner.destinations.get_mut(&server) else { continue };
            let Phase::Ready { due } = destination.phase else { continue };
            destination.phase = Phase::Sending { since: Instant::now(), slow };
            destination.again = false;
            inner.sending += 1;
            inner.sending_slow += usize::from(slow);
            return Some((server, Job::Send { due }));
        }
        while let Some(server) = inner.collapse.pop_front() {
            let Some(destination) = inner.destinations.get_mut(&server) else { continue };
            let Phase::Waiting { until, not_before } = destination.phase else { continue };
            destination.phase = Phase::Collapsing { until, not_before };
            inner.timers.remove(&(until, server));
            inner.sending += 1;
            return Some((server, Job::Collapse));
        }
        None
    }

    /// What waits to be told to a destination, as much as fits into one transaction.
    pub(super) fn take_edus(&self, server: ServerNum) -> Vec<Box<RawValue>> {
        let mut inner = self.inner.lock();
        inner.destinations.get_mut(&server).map(|destination| destination.edus.take()).unwrap_or_default()
    }

    /// A destination that is tried is known to be down: it may be heard from meanwhile.
    pub(super) fn trying(&self, server: ServerNum, name: &ServerName) {
        self.inner.lock().name(server, name);
    }

    /// A job came to its end.
    pub(super) fn done(&self, server: ServerNum, done: Done) {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        inner.sending = inner.sending.saturating_sub(1);
        inner.ended(server, now, matches!(done, Done::Sent { .. }));
        match done {
            Done::Sent { more } => inner.sent(server, more),
            Done::Idle => inner.sent(server, false),
            Done::Wait { name, time } => {
                inner.name(server, &name);
                inner.wait(server, now, time);
            }
            Done::Later { time } => inner.wait(server, now, time),
            Done::Collapsed => inner.collapsed(server, now),
        }
    }

    /// When the next wait ends.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.inner.lock().timers.first().map(|(at, _)| *at)
    }

    /// Ends the waits whose time has come.
    pub(super) fn fire(&self) {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        while let Some((at, server)) = inner.timers.first().copied() {
            if at > now {
                return;
            }
            inner.timers.pop_first();
            inner.make_ready(server, true);
        }
    }

    /// Everything that is kept of destinations: their number, and what is to be told to them.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        let lists = inner.ready.len()
            + inner.ready_slow.len()
            + inner.slow.len()
            + inner.collapse.len()
            + inner.timers.len()
            + inner.down.len();
        let told: usize = inner.destinations.values().map(|destination| destination.edus.len()).sum();
        (inner.destinations.len(), lists + told)
    }

    pub(super) fn census(&self) -> Census {
        let inner = self.inner.lock();
        let mut census = Census { ready: 0, sending: inner.sending, waiting: 0 };
        for destination in inner.destinations.values() {
            match destination.phase {
                Phase::Ready { .. } => census.ready += 1,
                Phase::Waiting { .. } | Phase::Collapsing { .. } => census.waiting += 1,
                Phase::Sending { .. } => {}
            }
        }
        census
    }
}

impl Destination {
    /// When a wait ends that somebody's own request ends early: now and then only, or whoever lets us wait in vain would be tried
    /// without end.
    fn lift(&mut self, until: Instant, soonest: Instant) -> Instant {
        let soonest = self.lifted.map_or(soonest, |at| soonest.max(at + LIFT_EVERY));
        if soonest >= until {
            return until;
        }
        self.lifted = Some(soonest);
        soonest
    }
}

impl Inner {
    /// The destination, woken unless it is being waited for.
    fn touch(&mut self, server: ServerNum) -> &mut Destination {
        let ready = if self.slow.contains_key(&server) { &mut self.ready_slow } else { &mut self.ready };
        let destination = self.destinations.entry(server).or_insert_with(|| {
            ready.push_back(server);
            Destination {
                phase: Phase::Ready { due: false },
                again: false,
                heard: false,
                name: None,
                lifted: None,
                queued: 0,
                edus: Pending::default(),
            }
        });
        destination.again = true;
        destination
    }

    fn queued(&mut self, server: ServerNum) {
        let destination = self.touch(server);
        if matches!(destination.phase, Phase::Waiting { .. }) {
            destination.queued += 1;
            if destination.queued == COLLAPSE_AFTER {
                self.collapse.push_back(server);
            }
        }
    }

    fn make_ready(&mut self, server: ServerNum, due: bool) {
        if let Some(destination) = self.destinations.get_mut(&server) {
            destination.phase = Phase::Ready { due };
            destination.queued = 0;
            // Only what is down has a name here.
            let is_slow = destination.name.is_some() || self.slow.contains_key(&server);
            if is_slow { &mut self.ready_slow } else { &mut self.ready }.push_back(server);
        }
    }

    /// The next destination, and whether it is a slow one. Those come first, as far as there are places for them: there is no end of the
    /// others.
    fn pop_ready(&mut self) -> Option<(ServerNum, bool)> {
        let slow = if self.sending_slow < MAX_SLOW { self.ready_slow.pop_front() } else { None };
        slow.map(|server| (server, true)).or_else(|| Some((self.ready.pop_front()?, false)))
    }

    /// A place is free again; how long it was taken is remembered.
    fn ended(&mut self, server: ServerNum, now: Instant, taken: bool) {
        let phase = self.destinations.get(&server).map(|destination| destination.phase);
        let Some(Phase::Sending { since, slow }) = phase else { return };
        self.sending_slow = self.sending_slow.saturating_sub(usize::from(slow));
        if now.saturating_duration_since(since) >= LONG {
            if self.slow.len() >= MAX_REMEMBERED {
                self.slow.retain(|_, until| *until > now);
            }
            if self.slow.len() < MAX_REMEMBERED {
                self.slow.insert(server, now + SLOW_FOR);
            }
        } else if taken || self.slow.get(&server).is_some_and(|until| *until <= now) {
            self.slow.remove(&server);
        }
    }

    fn name(&mut self, server: ServerNum, name: &ServerName) {
        if let Some(destination) = self.destinations.get_mut(&server)
            && destination.name.is_none()
        {
            destination.name = Some(name.to_owned());
            self.down.insert(name.to_owned(), server);
        }
    }

    fn sent(&mut self, server: ServerNum, more: bool) {
        let Some(destination) = self.destinations.get_mut(&server) else { return };
        destination.heard = false;
        if let Some(name) = destination.name.take() {
            self.down.remove(&name);
        }
        if more || destination.again || !destination.edus.is_empty() {
            self.make_ready(server, false);
        } else {
            self.destinations.remove(&server);
        }
    }

    fn wait(&mut self, server: ServerNum, now: Instant, time: Duration) {
        let Some(destination) = self.destinations.get_mut(&server) else { return };
        destination.edus.down();
        let heard = std::mem::take(&mut destination.heard);
        let not_before = now + SHORTEST;
        let until = now + time;
        let until = if heard { destination.lift(until, not_before) } else { until };
        destination.phase = Phase::Waiting { until, not_before };
        self.timers.insert((until, server));
    }

    fn collapsed(&mut self, server: ServerNum, now: Instant) {
        let Some(destination) = self.destinations.get_mut(&server) else { return };
        let Phase::Collapsing { until, not_before } = destination.phase else { return };
        destination.queued = 0;
        let heard = std::mem::take(&mut destination.heard);
        let until = if heard { destination.lift(until, not_before.max(now)) } else { until };
        destination.phase = Phase::Waiting { until, not_before };
        self.timers.insert((until, server));
    }

    fn heard(&mut self, server: ServerNum, now: Instant) {
        let Some(destination) = self.destinations.get_mut(&server) else { return };
        match destination.phase {
            // A server that speaks to us and cannot be reached by us is tried no more often than one that just went down.
            Phase::Waiting { until, not_before } => {
                let sooner = destination.lift(until, not_before.max(now));
                self.timers.remove(&(until, server));
                if sooner <= now {
                    self.make_ready(server, true);
                } else {
                    destination.phase = Phase::Waiting { until: sooner, not_before };
                    self.timers.insert((sooner, server));
                }
            }
            Phase::Sending { .. } | Phase::Collapsing { .. } => destination.heard = true,
            Phase::Ready { .. } => destination.phase = Phase::Ready { due: true },
        }
    }
}
