//! The ledger of a room that was here before us: in bulk from a server that knows ledgers, by walking back through history from one that
//! does not, and by id where entries cite what neither gave.

use std::{collections::BTreeSet, sync::Arc};

use engine::{EngineError, Room};
use http::{Method, StatusCode};
use room::check::ReceivedEvent;
use ruma::{
    OwnedEventId, OwnedServerName, ServerName,
    api::federation::{
        authorization::get_event_authorization::v1 as event_auth, backfill::get_backfill::v1 as backfill,
        event::get_event::v1 as get_event,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    CallError, CallLimits, Federation,
    inbound::ledger::{Cites, Page, target},
};

/// What the types of all entries begin with.
const PREFIX: &str = "com.cliquepay.";
/// Servers that are asked, at most.
const SERVERS: usize = 10;
/// Servers whose bulk is taken: one of them may lack what the other has.
const BULK_SERVERS: usize = 2;
/// Pages of one server, at most, in bulk and walking back.
const PAGES: usize = 1000;
/// Events on a page when walking back.
const PAGE: u32 = 500;
/// Entries asked for by id, at most.
const BY_ID: usize = 500;
/// How often entries are asked for that came into view with those before.
const ROUNDS: usize = 8;
/// Entries whose auth chains are asked for one by one, at most, for each page.
const CHAINS: usize = 20;
/// Entries read at once.
const LISTED: usize = 500;

/// What became of fetching a ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchedLedger {
    /// Entries that are here now and were not before.
    pub new: usize,
    /// Whether some server gave its ledger to the end, or its history back to the beginning.
    pub whole: bool,
    /// Events that entries cite and that nobody gave.
    pub missing: Vec<OwnedEventId>,
}

impl FetchedLedger {
    /// Whether nothing is known to be missing.
    pub fn is_complete(&self) -> bool {
        self.whole && self.missing.is_empty()
    }
}

/// What is looked at before an event is checked.
#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default)]
    state_key: Option<serde::de::IgnoredAny>,
}

fn is_entry(pdu: &RawValue) -> bool {
    serde_json::from_str::<Peek<'_>>(pdu.get())
        .is_ok_and(|peek| peek.kind.starts_with(PREFIX) && peek.state_key.is_none())
}

impl Federation {
    /// Fetches the entries of a room's ledger that are not here, from the servers that take part. Each is checked as any event is.
    ///
    /// # Errors
    /// Those of the engine; that servers do not answer is told by [`FetchedLedger::is_complete`].
    pub async fn fetch_ledger(&self, room: &Arc<Room>) -> Result<FetchedLedger, EngineError> {
        let mut servers = self.engine.servers(room).await?;
        servers.truncate(SERVERS);
        let (mut found, mut stock, mut in_bulk) = (FetchedLedger::default(), Vec::new(), 0);
        for server in &servers {
            if in_bulk == BULK_SERVERS {
                break;
            }
            match self.ledger_in_bulk(room, server, &mut found).await {
                Ok(()) => in_bulk += 1,
                Err(FetchError::Call(error)) if knows_no_ledgers(&error) => stock.push(server.clone()),
                Err(FetchError::Call(error)) => tracing::debug!(%server, %error, "no ledger in bulk"),
                Err(FetchError::Engine(error)) => return Err(error),
            }
        }
        for server in stock {
            if found.whole {
                break;
            }
            match self.ledger_by_walk(room, &server, &mut found).await {
                Ok(()) => {}
                Err(FetchError::Call(error)) => tracing::debug!(%server, %error, "no history"),
                Err(FetchError::Engine(error)) => return Err(error),
            }
        }
        found.missing = self.fetch_cited(room, &servers, &mut found.new).await?;
        Ok(found)
    }

    async fn ledger_in_bulk(
        &self,
        room: &Arc<Room>,
        server: &ServerName,
        found: &mut FetchedLedger,
    ) -> Result<(), FetchError> {
        let mut from = None;
        for _ in 0..PAGES {
            let target = target(&room.id, from);
            let page: Page = self.client.json(server, Method::GET, target, None, CallLimits::PAGES).await?;
            let entries = page.pdus.into_iter().filter(|pdu| is_entry(pdu)).collect();
            found.new += self.take_entries(room, server, entries, page.auth_chain).await?;
            match page.next {
                None => {
                    found.whole = true;
                    return Ok(());
                }
                // A page that leads back would have no end.
                Some(next) if from.is_some_and(|from| next <= from) => return Ok(()),
                next => from = next,
            }
        }
        Ok(())
    }

    /// Asks a server that knows no ledgers for its history, page by page, and keeps the entries.
    async fn ledger_by_walk(
        &self,
        room: &Arc<Room>,
        server: &ServerName,
        found: &mut FetchedLedger,
    ) -> Result<(), FetchError> {
        #[derive(Deserialize)]
        struct Place {
            #[serde(rename = "type")]
            kind: String,
            prev_events: Vec<OwnedEventId>,
        }
        let mut from: Vec<OwnedEventId> = self.ends(room).await?;
        let mut asked = BTreeSet::new();
        for _ in 0..PAGES {
            from.retain(|id| asked.insert(id.clone()));
            from.truncate(room::build::MAX_PREV_EVENTS);
            if from.is_empty() {
                return Ok(());
            }
            let request = backfill::Request::new(room.id.clone(), std::mem::take(&mut from), PAGE.into());
            let pdus = self.client.send(server, request, CallLimits::PAGES).await?.pdus;
            let pdus: Vec<_> = pdus.into_iter().take(2 * PAGE as usize).collect();
            let mut follows = BTreeSet::new();
            for pdu in &pdus {
                let Ok(place) = serde_json::from_str::<Place>(pdu.get()) else { continue };
                found.whole |= place.kind == "m.room.create";
                follows.extend(place.prev_events);
            }
            let events = self.check_pdus(pdus, &room.rules).await;
            let events: Vec<ReceivedEvent> =
                events.into_iter().flatten().filter(|e| e.pdu.room_id == room.id).collect();
            for event in &events {
                follows.remove(&event.pdu.event_id);
                asked.insert(event.pdu.event_id.clone());
            }
            let is_entry = |event: &ReceivedEvent| {
                event.pdu.state_key.is_none() && event.pdu.event_type.to_string().starts_with(PREFIX)
            };
            let entries = events.into_iter().filter(is_entry).collect();
            found.new += self.take_checked(room, server, entries, Vec::new()).await?;
            from = follows.into_iter().collect();
        }
        Ok(())
    }

    /// Where this server's knowledge of the room ends.
    async fn ends(&self, room: &Room) -> Result<Vec<OwnedEventId>, EngineError> {
        let head = self.engine.db.get(&engine::HEADS, &room.num).await?;
        Ok(head.map(|head| head.extremities.into_iter().map(|end| end.event_id).collect()).unwrap_or_default())
    }

    /// Asks for what the entries that are here cite, until nothing new comes into view. Gives what nobody has.
    async fn fetch_cited(
        &self,
        room: &Arc<Room>,
        servers: &[OwnedServerName],
        new: &mut usize,
    ) -> Result<Vec<OwnedEventId>, EngineError> {
        let (mut gone, mut asked) = (BTreeSet::new(), 0);
        for _ in 0..ROUNDS {
            let cited: Vec<OwnedEventId> = self.cited(room).await?.difference(&gone).cloned().collect();
            let missing = self.engine.absent(room, &cited).await?;
            if missing.is_empty() || asked >= BY_ID {
                gone.extend(missing);
                break;
            }
            for id in missing.into_iter().take(BY_ID - asked) {
                asked += 1;
                if !self.fetch_entry(room, servers, &id, new).await? {
                    gone.insert(id);
                }
            }
        }
        let gone: Vec<OwnedEventId> = gone.into_iter().collect();
        self.engine.absent(room, &gone).await
    }

    async fn fetch_entry(
        &self,
        room: &Arc<Room>,
        servers: &[OwnedServerName],
        id: &OwnedEventId,
        new: &mut usize,
    ) -> Result<bool, EngineError> {
        for server in servers {
            let request = get_event::Request::new(id.clone());
            let Ok(answer) = self.client.send(server, request, CallLimits::default()).await else { continue };
            let Ok(event) = self.check_pdu(&answer.pdu, &room.rules).await else { continue };
            if event.pdu.event_id != *id || event.pdu.room_id != room.id {
                continue;
            }
            match self.take_checked(room, server, vec![event], Vec::new()).await {
                Ok(0) | Err(FetchError::Call(_)) => {}
                Ok(taken) => {
                    *new += taken;
                    return Ok(true);
                }
                Err(FetchError::Engine(error)) => return Err(error),
            }
        }
        Ok(false)
    }

    /// What the entries that are here cite.
    async fn cited(&self, room: &Room) -> Result<BTreeSet<OwnedEventId>, EngineError> {
        let (mut cited, mut after) = (BTreeSet::new(), Some(0));
        while let Some(from) = after {
            let (rows, next) = self.engine.listed_events(room.num, from, LISTED).await?;
            for (_, row) in &rows {
                cited.extend(Cites::of(row.content()));
            }
            after = next;
        }
        Ok(cited)
    }

    async fn take_entries(
        &self,
        room: &Arc<Room>,
        server: &ServerName,
        entries: Vec<Box<RawValue>>,
        auth_chain: Vec<Box<RawValue>>,
    ) -> Result<usize, FetchError> {
        let of_room = |event: &ReceivedEvent| event.pdu.room_id == room.id;
        let entries = self.check_pdus(entries, &room.rules).await.into_iter().flatten().filter(of_room).collect();
        let chain = self.check_pdus(auth_chain, &room.rules).await.into_iter().flatten().filter(of_room).collect();
        self.take_checked(room, server, entries, chain).await
    }

    /// Hands the engine the entries that are not here, with what allows them. One whose content was stripped says nothing: another
    /// server may have it whole.
    async fn take_checked(
        &self,
        room: &Arc<Room>,
        server: &ServerName,
        entries: Vec<ReceivedEvent>,
        mut chain: Vec<ReceivedEvent>,
    ) -> Result<usize, FetchError> {
        let ids: Vec<OwnedEventId> = entries.iter().map(|event| event.pdu.event_id.clone()).collect();
        let absent: BTreeSet<OwnedEventId> = self.engine.absent(room, &ids).await?.into_iter().collect();
        let entries: Vec<ReceivedEvent> =
            entries.into_iter().filter(|event| !event.redacted && absent.contains(&event.pdu.event_id)).collect();
        if entries.is_empty() {
            return Ok(0);
        }
        let new: BTreeSet<OwnedEventId> = entries.iter().map(|event| event.pdu.event_id.clone()).collect();
        self.complete_chain(room, server, &entries, &mut chain).await?;
        chain.extend(entries);
        let here = self.engine.receive_outliers(room, chain).await?;
        Ok(here.iter().filter(|id| new.contains(*id)).count())
    }

    /// Asks for the events that allow entries where neither the room nor `chain` has them.
    async fn complete_chain(
        &self,
        room: &Arc<Room>,
        server: &ServerName,
        entries: &[ReceivedEvent],
        chain: &mut Vec<ReceivedEvent>,
    ) -> Result<(), FetchError> {
        let mut known: BTreeSet<OwnedEventId> = chain.iter().map(|event| event.pdu.event_id.clone()).collect();
        let mut asked = 0;
        for entry in entries {
            let unknown: Vec<_> = entry.pdu.auth_events.iter().filter(|id| !known.contains(*id)).cloned().collect();
            let absent = self.engine.absent(room, &unknown).await?;
            known.extend(unknown.into_iter().filter(|id| !absent.contains(id)));
            if absent.is_empty() || asked == CHAINS {
                continue;
            }
            asked += 1;
            let request = event_auth::Request::new(room.id.clone(), entry.pdu.event_id.clone());
            let answer = self.client.send(server, request, CallLimits::PAGES).await?;
            let events = self.check_pdus(answer.auth_chain, &room.rules).await.into_iter().flatten();
            for event in events.filter(|event| event.pdu.room_id == room.id) {
                if known.insert(event.pdu.event_id.clone()) {
                    chain.push(event);
                }
            }
        }
        Ok(())
    }
}

/// Whether a server says that it has no such endpoint.
fn knows_no_ledgers(error: &CallError) -> bool {
    match error {
        CallError::Status { status, errcode, .. } => {
            errcode == "M_UNRECOGNIZED" || *status == StatusCode::NOT_FOUND || *status == StatusCode::METHOD_NOT_ALLOWED
        }
        _ => false,
    }
}

/// Why a server gave nothing.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}
