//! One event of another server into the engine, with what it needs.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dashmap::DashMap;
use engine::{Received, Room, RoomNum};
use quick_cache::sync::Cache;
use room::check::ReceivedEvent;
use ruma::{OwnedEventId, ServerName};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    Federation,
    pdus::{
        PduError,
        gap::{Gap, MAX_TIME, missing},
        state_at::is_final,
    },
};

/// Events of one room that wait for the room's gaps to be looked at.
pub(crate) const MAX_WAITING: usize = 32;
/// Events remembered that could not be completed.
const MAX_FAILED: usize = 10_000;
/// For so long nothing is asked for again after a first failure, in milliseconds; twice as long after each further one.
const FIRST_BACKOFF: u64 = 60_000;
/// The longest that it grows to.
const LONGEST_BACKOFF: u64 = 3_600_000;

/// What is under way.
#[derive(Debug)]
pub(crate) struct PduState {
    queues: DashMap<RoomNum, Arc<Queue>>,
    failed: Cache<(RoomNum, OwnedEventId), Failure>,
}

impl Default for PduState {
    fn default() -> Self {
        Self { queues: DashMap::new(), failed: Cache::new(MAX_FAILED) }
    }
}

/// Those who wait for the gaps of one room: one of them at a time asks other servers.
#[derive(Debug, Default)]
struct Queue {
    turn: Mutex<()>,
    waiting: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    times: u32,
    until: u64,
}

/// A place in a room's queue, given up when it goes out of scope.
pub(crate) struct Place<'a> {
    state: &'a PduState,
    room: RoomNum,
    queue: Arc<Queue>,
}

impl PduState {
    pub(crate) fn place(&self, room: RoomNum) -> Result<Place<'_>, PduError> {
        // Counted under the map's lock, so that a queue which is being left is not taken for empty.
        let entry = self.queues.entry(room).or_default();
        if entry.waiting.load(Ordering::SeqCst) >= MAX_WAITING {
            return Err(PduError::Busy);
        }
        entry.waiting.fetch_add(1, Ordering::SeqCst);
        Ok(Place { state: self, room, queue: Arc::clone(&entry) })
    }

    pub(crate) fn is_hopeless(&self, room: RoomNum, event: &OwnedEventId, now: u64) -> bool {
        self.failed.get(&(room, event.clone())).is_some_and(|failure| failure.until > now)
    }

    pub(crate) fn failed(&self, room: RoomNum, event: OwnedEventId, now: u64) {
        let key = (room, event);
        let times = self.failed.get(&key).map_or(0, |failure| failure.times);
        let wait = FIRST_BACKOFF.saturating_mul(1 << times.min(10)).min(LONGEST_BACKOFF);
        self.failed.insert(key, Failure { times: times.saturating_add(1), until: now.saturating_add(wait) });
    }
}

impl Place<'_> {
    /// Waits until those before in the queue are done.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.queue.turn.lock().await
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::SeqCst);
        self.state.queues.remove_if(&self.room, |_, queue| queue.waiting.load(Ordering::SeqCst) == 0);
    }
}

impl Federation {
    /// Takes an event of a room from another server, one that was checked. What it follows and cites is fetched where it is not here,
    /// from `origin` first. Durable when this returns.
    ///
    /// # Errors
    /// [`PduError::Missing`] where what it needs cannot be had, [`PduError::Busy`] where too much waits for that already, and those of
    /// the engine.
    pub async fn receive_pdu(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        event: ReceivedEvent,
    ) -> Result<Received, PduError> {
        if event.pdu.room_id != room.id {
            return Err(PduError::Unrelated);
        }
        let ids = match self.engine.receive(room, event.clone()).await? {
            Received::Missing(ids) => ids,
            received => return Ok(received),
        };
        let event_id = event.pdu.event_id.clone();
        // Nobody here would see it, so nobody is asked.
        if room.info().local_members.is_empty() || self.pdus.is_hopeless(room.num, &event_id, self.clock.now_ms()) {
            return Err(missing(&ids));
        }
        let place = self.pdus.place(room.num)?;
        let _turn = place.turn().await;
        let gap = Gap::new(self, room, origin, MAX_TIME).await?;
        let received = match gap.receive(event.clone()).await {
            // What it waits for may have come while it stood in the queue.
            Err(PduError::Missing { .. }) if !self.pdus.is_hopeless(room.num, &event_id, self.clock.now_ms()) => {
                gap.receive_with_past(event).await
            }
            other => other,
        };
        let asked_in_vain = matches!(received, Err(PduError::Missing { .. } | PduError::Call(_))) && !gap.unreached();
        if asked_in_vain || received.as_ref().err().is_some_and(is_final) {
            self.pdus.failed(room.num, event_id, self.clock.now_ms());
        }
        received
    }
}
