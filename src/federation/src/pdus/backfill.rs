//! Older history, asked for when somebody reads back to where it is missing.
//! [Backfilling and retrieving missing events](https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events).

use std::{collections::BTreeSet, sync::Arc};

use engine::{HistoryPoint, Received, Room};
use room::check::ReceivedEvent;
use ruma::OwnedEventId;

use crate::{
    Federation,
    pdus::{PduError, fill::MAX_EDGES, gap::Gap, order::oldest_first},
};

/// Events that are asked for at once, at most.
const MAX_EVENTS: usize = 100;
/// However few somebody wants to read: what one request brings serves the next pages.
const MIN_EVENTS: usize = 20;
/// Missing events that one request goes back from, at most.
const MAX_FROM: usize = 20;
/// Time that somebody who reads waits for, in milliseconds.
const MAX_TIME: u64 = 30_000;

/// A stretch of history that is put together, with the state before its first event.
#[derive(Default)]
struct Stretch {
    events: Vec<ReceivedEvent>,
    ids: BTreeSet<OwnedEventId>,
    state: Vec<OwnedEventId>,
}

impl Federation {
    /// Asks the servers that take part in a room for what is missing between two points of its history: at most `limit` events. Gives the
    /// number of those that are here now and were not.
    ///
    /// # Errors
    /// [`PduError::Busy`] where too many wait for the same already, and those of the engine; that nobody gives anything is none.
    pub async fn backfill(
        &self,
        room: &Arc<Room>,
        between: (HistoryPoint, HistoryPoint),
        limit: usize,
    ) -> Result<usize, PduError> {
        if self.open_ends(room, between).await?.is_empty() {
            return Ok(0);
        }
        let place = self.pdus.place(room.num)?;
        let _turn = place.turn().await;
        // Who was before in the queue may have filled it.
        let ends = self.open_ends(room, between).await?;
        let Some(first) = self.engine.servers(room).await?.into_iter().next().filter(|_| !ends.is_empty()) else {
            return Ok(0);
        };
        let gap = Gap::new(self, room, &first, MAX_TIME).await?;
        let taken = gap.fill_from(&ends, limit.clamp(MIN_EVENTS, MAX_EVENTS)).await;
        if !gap.unreached() {
            // Whatever of it nobody gave is not asked for again at once.
            for end in gap.lacking(&ends).await? {
                self.pdus.failed(room.num, end, self.clock.now_ms());
            }
        }
        taken
    }

    /// Events that are missing between two points, and were not asked for in vain lately.
    async fn open_ends(
        &self,
        room: &Room,
        (low, high): (HistoryPoint, HistoryPoint),
    ) -> Result<Vec<OwnedEventId>, PduError> {
        let now = self.clock.now_ms();
        let gaps = self.engine.gaps(room).await?.into_iter();
        let open = gaps.filter(|gap| gap.point >= low && gap.point < high).map(|gap| gap.event_id);
        let mut ends: Vec<OwnedEventId> = Vec::new();
        for id in open {
            if ends.len() < MAX_FROM && !ends.contains(&id) && !self.pdus.is_hopeless(room.num, &id, now) {
                ends.push(id);
            }
        }
        Ok(ends)
    }
}

impl Gap<'_> {
    /// Goes back from some events that are missing, with the first server that has any of it.
    async fn fill_from(&self, ends: &[OwnedEventId], limit: usize) -> Result<usize, PduError> {
        for server in self.servers() {
            let raw = match self.backfill(server, ends, limit).await {
                Ok(raw) => raw,
                Err(error) => {
                    tracing::debug!(%server, room = %self.room.id, %error, "no older history was given");
                    continue;
                }
            };
            let events = self.checked_lacking(raw).await?;
            let taken = self.take_history(oldest_first(events)).await?;
            if taken > 0 {
                return Ok(taken);
            }
        }
        Ok(0)
    }

    /// Takes older history, oldest first, in stretches: each time nothing is known of what an event follows, the state before it is asked
    /// for.
    pub(crate) async fn take_history(&self, events: Vec<ReceivedEvent>) -> Result<usize, PduError> {
        let (mut stretch, mut taken, mut roots) = (Stretch::default(), 0, 0);
        for event in events {
            let prev = &event.pdu.prev_events;
            let open = self.lacking(prev).await?;
            let hangs = !prev.is_empty() && open.len() == prev.len() && !open.iter().any(|id| stretch.ids.contains(id));
            if hangs {
                taken += self.land(std::mem::take(&mut stretch)).await?;
                roots += 1;
                if roots > MAX_EDGES {
                    break;
                }
                match self.state_before(&event.pdu.event_id).await {
                    Ok(state) => stretch.state = state,
                    Err(error) => {
                        tracing::debug!(room = %self.room.id, %error, "the state at the end of older history is not known");
                        continue;
                    }
                }
            }
            let outside: Vec<OwnedEventId> =
                event.pdu.auth_events.iter().filter(|id| !stretch.ids.contains(*id)).cloned().collect();
            if !self.absent(&outside).await?.is_empty()
                && let Err(error) = self.complete_auth(&event).await
            {
                tracing::debug!(room = %self.room.id, %error, "an older event was not taken");
                continue;
            }
            stretch.ids.insert(event.pdu.event_id.clone());
            stretch.events.push(event);
        }
        taken += self.land(stretch).await?;
        Ok(taken)
    }

    async fn land(&self, stretch: Stretch) -> Result<usize, PduError> {
        if stretch.events.is_empty() {
            return Ok(0);
        }
        let received = self.fed.engine.receive_history(self.room, stretch.events, &stretch.state).await?;
        Ok(received.iter().filter(|received| matches!(received, Received::Stored { .. })).count())
    }
}
