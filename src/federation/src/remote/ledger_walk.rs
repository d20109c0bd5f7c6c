//! The ledger of a room out of the history of a server that knows no ledgers: walked back, page by page, to the beginning.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use engine::{EngineError, Room};
use room::{build::MAX_PREV_EVENTS, check::ReceivedEvent};
use ruma::{
    OwnedEventId, ServerName, api::federation::backfill::get_backfill::v1 as backfill, events::TimelineEventType,
};

use super::ledger::{FetchError, FetchedLedger, Given, PREFIX};
use crate::{CallLimits, Federation};

/// Pages of one walk, at most.
const PAGES: usize = 2000;
/// Events asked for on a page. Many servers give no more than a hundred.
const PAGE: u32 = 500;
/// Entries that are kept until what allows them has come by, at most.
const KEPT: usize = 2000;
/// State events kept for that, at most: the rest is asked for.
const STATE: usize = 20_000;

/// What a walk has come by.
#[derive(Default)]
struct Walk {
    /// Events to go back from.
    open: BTreeSet<OwnedEventId>,
    /// Events that were given, or asked for.
    seen: BTreeSet<OwnedEventId>,
    state: HashMap<OwnedEventId, ReceivedEvent>,
    entries: Vec<ReceivedEvent>,
    redactions: Vec<ReceivedEvent>,
    /// Whether the room's first event was among them.
    begun: bool,
}

impl Federation {
    /// Asks a server that knows no ledgers for its history and keeps the entries. What allows them comes with it.
    pub(super) async fn ledger_by_walk(
        &self,
        room: &Arc<Room>,
        server: &ServerName,
        found: &mut FetchedLedger,
    ) -> Result<(), FetchError> {
        let mut walk = Walk { open: self.ends(room).await?, ..Walk::default() };
        for _ in 0..PAGES {
            let from = walk.next();
            if from.is_empty() {
                break;
            }
            let request = backfill::Request::new(room.id.clone(), from, PAGE.into());
            let mut pdus = self.client.send(server, request, CallLimits::PAGES).await?.pdus;
            pdus.truncate(2 * PAGE as usize);
            walk.take(self.check_of_room(room, pdus).await);
            if walk.entries.len() + walk.redactions.len() >= KEPT {
                found.new += self.take_entries(room, server, walk.given()).await?;
            }
        }
        found.whole |= walk.begun && walk.open.is_empty();
        found.new += self.take_entries(room, server, walk.given()).await?;
        Ok(())
    }

    /// Where this server's knowledge of the room ends.
    async fn ends(&self, room: &Room) -> Result<BTreeSet<OwnedEventId>, EngineError> {
        let head = self.engine.db.get(&engine::HEADS, &room.num).await?;
        Ok(head.map(|head| head.extremities.into_iter().map(|end| end.event_id).collect()).unwrap_or_default())
    }
}

impl Walk {
    /// Where to go back from next.
    fn next(&mut self) -> Vec<OwnedEventId> {
        let mut from = Vec::new();
        while from.len() < MAX_PREV_EVENTS
            && let Some(id) = self.open.pop_first()
        {
            self.seen.insert(id.clone());
            from.push(id);
        }
        from
    }

    fn take(&mut self, events: Vec<ReceivedEvent>) {
        let here: BTreeSet<OwnedEventId> = events.iter().map(|event| event.pdu.event_id.clone()).collect();
        for event in events {
            let pdu = &event.pdu;
            let behind = pdu.prev_events.iter().filter(|id| !here.contains(*id) && !self.seen.contains(*id));
            self.open.extend(behind.cloned());
            self.open.remove(&pdu.event_id);
            self.begun |= pdu.event_type == TimelineEventType::RoomCreate;
            let is_new = self.seen.insert(pdu.event_id.clone());
            match pdu.state_key {
                Some(_) if self.state.len() < STATE => drop(self.state.insert(pdu.event_id.clone(), event)),
                None if !is_new => {}
                None if pdu.event_type.to_string().starts_with(PREFIX) => self.entries.push(event),
                None if pdu.event_type == TimelineEventType::RoomRedaction => self.redactions.push(event),
                _ => {}
            }
        }
    }

    /// The entries that were come by, the redactions of those among them, and what the walk knows of what allows them.
    fn given(&mut self) -> Given {
        let entries = std::mem::take(&mut self.entries);
        // A redaction is newer than what it empties, and comes before it.
        let emptied: BTreeSet<&OwnedEventId> =
            entries.iter().filter(|entry| entry.redacted).map(|entry| &entry.pdu.event_id).collect();
        let is_of_these = |event: &mut ReceivedEvent| event.pdu.redacts.as_ref().is_some_and(|id| emptied.contains(id));
        let redactions: Vec<ReceivedEvent> = self.redactions.extract_if(.., is_of_these).collect();
        let mut chain: HashMap<OwnedEventId, ReceivedEvent> = HashMap::new();
        let cited = entries.iter().chain(&redactions).flat_map(|event| event.pdu.auth_events.iter().cloned());
        let mut open: Vec<OwnedEventId> = cited.collect();
        while let Some(id) = open.pop() {
            if let Some(event) = self.state.get(&id).filter(|_| !chain.contains_key(&id)) {
                open.extend(event.pdu.auth_events.iter().cloned());
                chain.insert(id, event.clone());
            }
        }
        Given { entries, redactions, chain: chain.into_values().collect() }
    }
}
