//! The state at an event whose past is not here, as other servers tell it.
//! [Retrieving events and state](https://spec.matrix.org/v1.19/server-server-api/#retrieving-events).

use engine::{EngineError, Received};
use room::check::ReceivedEvent;
use ruma::{EventId, OwnedEventId};

use crate::pdus::{
    PduError,
    gap::{Gap, StateIds, missing},
    order::oldest_first,
};

/// Events that are asked for one by one; where more are missing, the whole state is asked for.
const ONE_BY_ONE: usize = 50;
/// The share of the state that may be missing for its events to be asked for one by one: one in so many.
const SHARE: usize = 10;
/// Events of a state that are stored in one go.
const OUTLIERS: usize = 500;
/// Rounds of asking for the events that allow those of the round before.
const AUTH_ROUNDS: usize = 4;
/// Events asked for in one such round.
const AUTH_EVENTS: usize = 30;

impl Gap<'_> {
    /// Takes an event whose predecessors are not here, at the state that other servers say was before it.
    pub(crate) async fn receive_at(&self, event: ReceivedEvent) -> Result<Received, PduError> {
        let state = self.state_before(&event.pdu.event_id).await?;
        self.complete_auth(&event).await?;
        Ok(self.fed.engine.receive_at(self.room, event, &state).await?)
    }

    /// The ids of the state before an event, all of which is here then.
    pub(crate) async fn state_before(&self, event_id: &EventId) -> Result<Vec<OwnedEventId>, PduError> {
        // What allows the state may be elsewhere for good; the state itself is all or nothing, or it would be another state.
        let (state, absent) = self.gather_state(event_id).await?;
        if absent.is_empty() { Ok(state) } else { Err(missing(&absent)) }
    }

    /// The ids of the state before an event as a server tells it, and those of them that are not here though they were asked for.
    pub(crate) async fn gather_state(
        &self,
        event_id: &EventId,
    ) -> Result<(Vec<OwnedEventId>, Vec<OwnedEventId>), PduError> {
        let ids = self.state_ids(event_id).await?;
        let mut wanted: Vec<OwnedEventId> = ids.state.iter().chain(&ids.auth_chain).cloned().collect();
        wanted.sort();
        wanted.dedup();
        let absent = self.absent(&wanted).await?;
        if !absent.is_empty() {
            let many = absent.len() > ONE_BY_ONE && absent.len() * SHARE > wanted.len();
            let mut events = if many { self.many(&ids, event_id, &absent).await } else { self.events(&absent).await };
            // Alone, an event may be given as the history's visibility allows; a state is given whole.
            if !many && events.iter().any(|event| event.redacted) {
                events = self.many(&ids, event_id, &absent).await;
            }
            self.take_outliers(events).await?;
        }
        let absent = self.absent(&ids.state).await?;
        Ok((ids.state, absent))
    }

    /// Hands over events some at a time, so that nobody who writes to the room waits for all of them.
    async fn take_outliers(&self, events: Vec<ReceivedEvent>) -> Result<(), PduError> {
        let mut rest = oldest_first(events);
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(OUTLIERS));
            self.fed.engine.receive_outliers(self.room, rest).await?;
            rest = later;
        }
        Ok(())
    }

    async fn many(&self, ids: &StateIds, event_id: &EventId, absent: &[OwnedEventId]) -> Vec<ReceivedEvent> {
        match self.whole_state(&ids.server, event_id).await {
            Ok(events) => self.checked(events, |id| absent.binary_search(id).is_ok()).await,
            Err(error) => {
                tracing::debug!(server = %ids.server, %error, "the state was not given as a whole");
                self.events(absent.get(..ONE_BY_ONE).unwrap_or(absent)).await
            }
        }
    }

    /// Fetches the events that an event cites, and what allows them, as outliers.
    ///
    /// # Errors
    /// [`PduError::Missing`] where they cannot be had.
    pub(crate) async fn complete_auth(&self, event: &ReceivedEvent) -> Result<(), PduError> {
        let cited = &event.pdu.auth_events;
        if self.absent(cited).await?.is_empty() {
            return Ok(());
        }
        for server in self.servers() {
            match self.event_auth(server, &event.pdu.event_id).await {
                Ok(chain) => {
                    let events = self.checked_chain(chain, cited).await?;
                    self.take_outliers(events).await?;
                    break;
                }
                Err(error) => tracing::debug!(%server, %error, "what allows an event was not given"),
            }
        }
        self.auth_by_id(cited).await
    }

    /// The same by the ids of the events, and of those that they cite.
    async fn auth_by_id(&self, cited: &[OwnedEventId]) -> Result<(), PduError> {
        let mut fetched: Vec<ReceivedEvent> = Vec::new();
        let mut absent = self.absent(cited).await?;
        for _ in 0..AUTH_ROUNDS {
            if absent.is_empty() || absent.len() > AUTH_EVENTS {
                break;
            }
            let events = self.events(&absent).await;
            let mut next: Vec<OwnedEventId> =
                events.iter().flat_map(|event| event.pdu.auth_events.iter().cloned()).collect();
            fetched.extend(events);
            next.retain(|id| !fetched.iter().any(|event| event.pdu.event_id == *id));
            next.sort();
            next.dedup();
            absent = self.absent(&next).await?;
        }
        if !fetched.is_empty() {
            self.fed.engine.receive_outliers(self.room, fetched).await?;
        }
        let absent = self.absent(cited).await?;
        if absent.is_empty() { Ok(()) } else { Err(missing(&absent)) }
    }

    /// Takes an event by what is here, fetching what it cites where that alone is missing.
    ///
    /// # Errors
    /// [`PduError::Missing`] where it follows events that are not here.
    pub(crate) async fn receive(&self, event: ReceivedEvent) -> Result<Received, PduError> {
        let engine = &self.fed.engine;
        let ids = match engine.receive(self.room, event.clone()).await? {
            Received::Missing(ids) => ids,
            received => return Ok(received),
        };
        if ids.iter().any(|id| event.pdu.prev_events.contains(id)) {
            return Err(missing(&ids));
        }
        self.complete_auth(&event).await?;
        match engine.receive(self.room, event).await? {
            Received::Missing(ids) => Err(missing(&ids)),
            received => Ok(received),
        }
    }
}

/// Whether trying again, with more events here, could help.
pub(crate) fn is_final(error: &PduError) -> bool {
    matches!(error, PduError::Check(_) | PduError::Unrelated | PduError::Engine(EngineError::BadEvent(_)))
}
