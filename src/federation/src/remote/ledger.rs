//! The ledger of a room that was here before us: in bulk from a server that knows ledgers, by walking back through history from one that
//! does not, and by id where entries cite what neither gave.

use std::{collections::BTreeSet, sync::Arc};

use engine::{EngineError, Room};
use http::{Method, StatusCode};
use room::check::ReceivedEvent;
use ruma::{
    OwnedEventId, OwnedServerName, ServerName,
    api::federation::{authorization::get_event_authorization::v1 as event_auth, event::get_event::v1 as get_event},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    CallError, CallLimits, Federation,
    inbound::ledger::{Cites, Page, target},
};

/// What the types of all entries begin with.
pub(super) const PREFIX: &str = "com.cliquepay.";
/// Servers that are asked, at most.
const SERVERS: usize = 10;
/// Servers whose bulk is taken: one of them may lack what the other has.
const BULK_SERVERS: usize = 2;
/// Pages of one server, at most.
const PAGES: usize = 1000;
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

/// What a server gave of a ledger, checked.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) entries: Vec<ReceivedEvent>,
    /// The redactions of those that were emptied.
    pub(super) redactions: Vec<ReceivedEvent>,
    /// What allows them.
    pub(super) chain: Vec<ReceivedEvent>,
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
            let given = Given {
                entries: self.check_of_room(room, entries).await,
                redactions: self.check_of_room(room, page.redactions).await,
                chain: self.check_of_room(room, page.auth_chain).await,
            };
            found.new += self.take_entries(room, server, given).await?;
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
            match self.take_cited(room, server, event).await {
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

    /// Those of some events that are genuine and of the room.
    pub(super) async fn check_of_room(&self, room: &Room, events: Vec<Box<RawValue>>) -> Vec<ReceivedEvent> {
        let checked = self.check_pdus(events, &room.rules).await.into_iter().flatten();
        checked.filter(|event| event.pdu.room_id == room.id).collect()
    }

    /// Hands the engine what a server says is part of the room. Gives the number of entries that are new.
    pub(super) async fn take_entries(
        &self,
        room: &Arc<Room>,
        server: &ServerName,
        given: Given,
    ) -> Result<usize, FetchError> {
        let events = given.entries.iter().chain(&given.redactions);
        let told: BTreeSet<OwnedEventId> = events.map(|event| event.pdu.event_id.clone()).collect();
        self.take_aside(room, server, given, &told).await
    }

    /// Hands the engine an entry that others cite: whether it is part of the room nobody says.
    async fn take_cited(
        &self,
        room: &Arc<Room>,
        server: &ServerName,
        entry: ReceivedEvent,
    ) -> Result<usize, FetchError> {
        let given = Given { entries: vec![entry], ..Given::default() };
        self.take_aside(room, server, given, &BTreeSet::new()).await
    }

    async fn take_aside(
        &self,
        room: &Arc<Room>,
        server: &ServerName,
        given: Given,
        told: &BTreeSet<OwnedEventId>,
    ) -> Result<usize, FetchError> {
        let Given { mut entries, redactions, mut chain } = given;
        let ids: Vec<OwnedEventId> = entries.iter().map(|event| event.pdu.event_id.clone()).collect();
        let new: BTreeSet<OwnedEventId> = self.engine.unsettled(room, &ids).await?.into_iter().collect();
        entries.retain(|event| new.contains(&event.pdu.event_id));
        entries.extend(redactions);
        if entries.is_empty() {
            return Ok(0);
        }
        self.complete_chain(room, server, &entries, &mut chain).await?;
        chain.extend(entries);
        let here = self.engine.receive_aside(room, chain, told).await?;
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
            for event in self.check_of_room(room, answer.auth_chain).await {
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
pub(super) enum FetchError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}
