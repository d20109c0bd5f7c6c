//! Older history, which other servers give when somebody reads back to where it is missing.

use std::{collections::HashMap, sync::Arc};

use ::room::check::ReceivedEvent;
use ruma::OwnedEventId;

use crate::{
    engine::Engine,
    error::EngineError,
    judge::Judging,
    receive::{Landing, Received, depth_of},
    room::Room,
    row::StateFrom,
    state_tree::NodeId,
    tables::Depth,
    timeline::HistoryPoint,
    writer::RoomWriter,
};

impl Engine {
    /// Takes a stretch of older history, oldest first, each with what it follows in the list or here; `state` names the state before
    /// those of which nothing that they follow is here (all of that state is here; without it they are not taken). The events get places
    /// before what follows them, and none in the stream; neither the room's ends nor its current state change. What became of
    /// each of them, in their order.
    ///
    /// # Errors
    /// As [`Engine::receive`]; nothing is stored then.
    pub async fn receive_history(
        &self,
        room: &Arc<Room>,
        events: Vec<ReceivedEvent>,
        state: &[OwnedEventId],
    ) -> Result<Vec<Received>, EngineError> {
        self.senders(events.iter().map(|event| &event.pdu)).await?;
        let mut writer = self.write(room).await?;
        let received = writer.receive_history(events, state).await?;
        writer.commit().await?;
        Ok(received)
    }
}

impl RoomWriter<'_> {
    async fn receive_history(
        &mut self,
        events: Vec<ReceivedEvent>,
        state: &[OwnedEventId],
    ) -> Result<Vec<Received>, EngineError> {
        for event in &events {
            self.check_room(&event.pdu).await?;
        }
        let places = self.places(&events).await?;
        let (mut received, mut told) = (Vec::with_capacity(events.len()), None);
        for (event, place) in events.into_iter().zip(places) {
            received.push(self.receive_older(event, place, state, &mut told).await?);
        }
        Ok(received)
    }

    async fn receive_older(
        &mut self,
        event: ReceivedEvent,
        place: HistoryPoint,
        state: &[OwnedEventId],
        told: &mut Option<NodeId>,
    ) -> Result<Received, EngineError> {
        let known = match self.known(&event.pdu.event_id).await? {
            Some((num, false)) => return Ok(Received::Known(num)),
            known => known.map(|(num, _)| num),
        };
        let references = self.references(&event.pdu).await?;
        if !references.uncited.is_empty() {
            return Ok(Received::Missing(references.uncited));
        }
        let unknown = references.prev.is_empty() && !references.gaps.is_empty();
        if unknown && state.is_empty() {
            return Ok(Received::Missing(references.gaps));
        }
        let from = if references.gaps.is_empty() { StateFrom::Graph } else { StateFrom::Told };
        let before = match *told {
            _ if !unknown => self.resolve_after(&references.prev).await?,
            Some(told) => told,
            None => {
                let here = self.here(state.iter().cloned().collect()).await?;
                *told.insert(self.stage_told(&here, state)?)
            }
        };
        let verdict = self.judge(&event.pdu, &references.cited, before, Judging::default()).await?;
        // What came before we entered follows nothing whose state is not known whole.
        let partial = false;
        let landing = Landing { references, before, from, verdict, partial, known, history: Some(place) };
        let num = self.land(event, landing).await?;
        Ok(Received::Stored { num, verdict })
    }

    /// Where the events belong: by the depths that they claim, but before what follows them and behind what they follow.
    async fn places(&mut self, events: &[ReceivedEvent]) -> Result<Vec<HistoryPoint>, EngineError> {
        let deepest = self.head()?.row.extremities.iter().map(|end| end.depth).max().unwrap_or(Depth::MAX);
        let mut below: HashMap<&OwnedEventId, Depth> = HashMap::new();
        let row = &mut self.head_mut()?.row;
        let mut arrival = row.next_backfill;
        row.next_backfill = row.next_backfill.saturating_sub(i64::try_from(events.len()).unwrap_or(i64::MAX));
        let mut places = Vec::with_capacity(events.len());
        for event in events.iter().rev() {
            let pdu = &event.pdu;
            let mut limit = below.get(&pdu.event_id).copied().unwrap_or(deepest);
            for follower in self.followers(&pdu.event_id).await? {
                limit = limit.min(self.event_row(follower).await?.depth());
            }
            let prev = self.references(pdu).await?.prev;
            let lowest = if prev.is_empty() { depth_of(pdu) } else { self.depth_after(&prev).await? };
            let depth = depth_of(pdu).max(lowest).min(limit.saturating_sub(1));
            for id in &pdu.prev_events {
                let limit = below.entry(id).or_insert(depth);
                *limit = depth.min(*limit);
            }
            places.push(HistoryPoint { depth, arrival });
            arrival -= 1;
        }
        places.reverse();
        Ok(places)
    }
}
