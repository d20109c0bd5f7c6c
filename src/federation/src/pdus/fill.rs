//! The events of a gap: asked for from the newest back, taken in from the oldest on.

use std::collections::{BTreeMap, BTreeSet};

use engine::Received;
use room::check::ReceivedEvent;
use ruma::{OwnedEventId, ServerName};

use crate::{
    CallError,
    pdus::{
        PduError,
        gap::{Gap, missing},
        order::{behind, oldest_first},
    },
};

/// Events asked for at once.
pub(crate) const STEP: usize = 20;
/// Times that a server is asked to go on.
pub(crate) const MAX_STEPS: usize = 5;
/// Events at the far end of a gap at which the state is asked for: each costs as much as a join.
pub(crate) const MAX_EDGES: usize = 5;

impl Gap<'_> {
    /// Takes an event some of whose predecessors are not here, with them.
    ///
    /// # Errors
    /// [`PduError::Missing`] where nobody gives them.
    pub(crate) async fn receive_with_past(&self, event: ReceivedEvent) -> Result<Received, PduError> {
        let absent = self.lacking(&event.pdu.prev_events).await?;
        if absent.is_empty() {
            // What allows it was asked for already; only what came since then is news.
            let uncited = self.absent(&event.pdu.auth_events).await?;
            return if uncited.is_empty() { self.receive(event).await } else { Err(missing(&uncited)) };
        }
        let events = self.past_of(&event, &absent).await?;
        let (old, events) = self.divide(events).await?;
        // What came before events that are here moves no end of the room: a state from before this server entered would throw it out.
        if !old.is_empty() {
            let followed = self.lacking(&behind(events.iter().chain([&event]))).await?;
            if old.iter().any(|event| followed.contains(&event.pdu.event_id)) {
                self.take_history(old).await?;
            }
        }
        for edge in self.lacking(&behind(events.iter())).await?.into_iter().take(MAX_EDGES) {
            if let Err(error) = self.receive_edge(&edge).await {
                tracing::debug!(room = %self.room.id, event = %edge, %error, "a gap stays open");
            }
        }
        for event in events {
            let id = event.pdu.event_id.clone();
            if let Err(error) = self.receive(event).await {
                tracing::debug!(room = %self.room.id, event = %id, %error, "an event of a gap was not taken");
            }
        }
        self.receive(event).await
    }

    /// The events between what is here and `event`, oldest first. All that it follows directly is here or among them: a server that
    /// sends an event has to show what it follows.
    async fn past_of(&self, event: &ReceivedEvent, absent: &[OwnedEventId]) -> Result<Vec<ReceivedEvent>, PduError> {
        let mut last = None;
        for server in self.servers() {
            match self.walk_back(server, event).await {
                Ok(events) => {
                    let hidden = |id: &&OwnedEventId| !events.iter().any(|event| event.pdu.event_id == **id);
                    let hidden: Vec<OwnedEventId> = absent.iter().filter(hidden).cloned().collect();
                    return if hidden.is_empty() { Ok(oldest_first(events)) } else { Err(missing(&hidden)) };
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| missing(&event.pdu.prev_events), PduError::Call))
    }

    /// Parts the events of a gap, oldest first, from those that came before events which are here.
    async fn divide(&self, events: Vec<ReceivedEvent>) -> Result<(Vec<ReceivedEvent>, Vec<ReceivedEvent>), PduError> {
        let ids: Vec<OwnedEventId> = events.iter().map(|event| event.pdu.event_id.clone()).collect();
        let new: BTreeSet<OwnedEventId> = self.lacking(&ids).await?.into_iter().collect();
        let gaps = self.fed.engine.gaps(self.room).await?;
        let mut before: BTreeSet<OwnedEventId> = gaps.into_iter().map(|gap| gap.event_id).collect();
        let (mut old, mut later) = (Vec::new(), Vec::new());
        for event in events.into_iter().rev() {
            let id = &event.pdu.event_id;
            let is_new = new.contains(id);
            if !is_new || before.contains(id) {
                before.extend(event.pdu.prev_events.iter().cloned());
            }
            match (is_new, before.contains(id)) {
                (true, true) => old.push(event),
                (true, false) => later.push(event),
                (false, _) => {}
            }
        }
        old.reverse();
        later.reverse();
        Ok((old, later))
    }

    /// Asks a server for what came before an event, step by step, until its past meets what is here or the server has no more.
    async fn walk_back(&self, server: &ServerName, event: &ReceivedEvent) -> Result<Vec<ReceivedEvent>, CallError> {
        let earliest = self.fed.engine.extremities(self.room).await.unwrap_or_default();
        let mut latest = vec![event.pdu.event_id.clone()];
        let mut found: BTreeMap<OwnedEventId, ReceivedEvent> = BTreeMap::new();
        for step in 0..MAX_STEPS {
            let raw = match self.missing_events(server, &earliest, &latest, STEP).await {
                Ok(raw) => raw,
                Err(error) if step == 0 => return Err(error),
                Err(_) => break,
            };
            let full = raw.len() == STEP;
            let before = found.len();
            for event in self.checked(raw, |id| !found.contains_key(id)).await {
                found.entry(event.pdu.event_id.clone()).or_insert(event);
            }
            // What came before events that are here is nothing to go back from.
            let (_, later) = self.divide(oldest_first(found.values().cloned().collect())).await.unwrap_or_default();
            let open = self.lacking(&behind(later.iter())).await.unwrap_or_default();
            let open: Vec<OwnedEventId> = open.into_iter().filter(|id| !found.contains_key(id)).collect();
            // A server that gives less than it was asked for has no more.
            if !full || found.len() == before || open.is_empty() {
                break;
            }
            let follows_open = |event: &&ReceivedEvent| event.pdu.prev_events.iter().any(|id| open.contains(id));
            latest = later.iter().filter(follows_open).map(|event| event.pdu.event_id.clone()).take(STEP).collect();
        }
        Ok(found.into_values().collect())
    }

    /// Takes the event at the far end of a gap, at the state before it.
    async fn receive_edge(&self, edge: &OwnedEventId) -> Result<(), PduError> {
        let mut events = self.events(std::slice::from_ref(edge)).await;
        let event = events.pop().ok_or_else(|| missing(std::slice::from_ref(edge)))?;
        let received = match self.receive(event.clone()).await {
            Err(PduError::Missing { .. }) => self.receive_at(event).await?,
            other => other?,
        };
        match received {
            Received::Missing(ids) => Err(missing(&ids)),
            Received::Known(_) | Received::Stored { .. } => Ok(()),
        }
    }
}
