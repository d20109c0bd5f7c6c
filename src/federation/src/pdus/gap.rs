//! What one gap in a room's history may cost, and the requests that fill it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use engine::Room;
use futures::{StreamExt as _, stream};
use room::check::{ReceivedEvent, UnverifiedEvent};
use ruma::{
    EventId, OwnedEventId, OwnedServerName, ServerName, UInt,
    api::federation::{authorization::get_event_authorization, backfill::get_backfill, event as api},
};
use serde_json::value::RawValue;

use crate::{
    CallError, CallLimits, Federation,
    pdus::{
        PduError,
        check::{Parsed, parse_pdus},
    },
};

/// Requests that one gap is worth, to all servers together.
pub(crate) const MAX_CALLS: usize = 150;
/// Bytes of answers that one gap is worth.
pub(crate) const MAX_BYTES: usize = 128 << 20;
/// Time that a gap is worth that events of another server wait for, in milliseconds.
pub(crate) const MAX_TIME: u64 = 120_000;
/// Requests for single events that are under way at once.
const PARALLEL: usize = 8;
/// Servers that are asked for the same thing, one after the other.
const MAX_SERVERS: usize = 3;
/// Bytes of an answer with one event.
const EVENT_ANSWER: usize = 256 << 10;

/// One gap: who may be asked, and what is left to spend.
#[derive(Debug)]
pub(crate) struct Gap<'a> {
    pub(crate) fed: &'a Federation,
    pub(crate) room: &'a Arc<Room>,
    servers: Vec<OwnedServerName>,
    calls: AtomicUsize,
    bytes: AtomicUsize,
    deadline: u64,
    unreached: AtomicBool,
}

/// The ids of a state and of what allows it.
#[derive(Debug)]
pub(crate) struct StateIds {
    pub(crate) server: OwnedServerName,
    pub(crate) state: Vec<OwnedEventId>,
    pub(crate) auth_chain: Vec<OwnedEventId>,
}

impl<'a> Gap<'a> {
    /// A gap that `first` is asked about before others, worth some milliseconds.
    pub(crate) async fn new(
        fed: &'a Federation,
        room: &'a Arc<Room>,
        first: &ServerName,
        time: u64,
    ) -> Result<Self, PduError> {
        let mut servers = vec![first.to_owned()];
        for server in fed.engine.servers(room).await? {
            if servers.len() < MAX_SERVERS && server != first && server != fed.server_name() {
                servers.push(server);
            }
        }
        Ok(Self {
            fed,
            room,
            servers,
            calls: AtomicUsize::new(MAX_CALLS),
            bytes: AtomicUsize::new(MAX_BYTES),
            deadline: fed.clock.now_ms().saturating_add(time),
            unreached: AtomicBool::new(false),
        })
    }

    /// The same, worth more bytes or fewer.
    pub(crate) fn worth(self, bytes: usize) -> Self {
        Self { bytes: AtomicUsize::new(bytes), ..self }
    }

    /// Whether a server did not answer at all: then it is worth asking again soon.
    pub(crate) fn unreached(&self) -> bool {
        self.unreached.load(Ordering::Relaxed)
    }

    /// The servers to ask, the best one first.
    pub(crate) fn servers(&self) -> &[OwnedServerName] {
        &self.servers
    }

    /// Takes one request from the budget: what its answer may cost, the body's size taken from the budget already.
    fn spend(&self, limits: CallLimits) -> Result<CallLimits, CallError> {
        let spent = || CallError::BadRequest("the gap is worth no more requests".to_owned());
        let left = Duration::from_millis(self.deadline.saturating_sub(self.fed.clock.now_ms()));
        self.calls
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |calls| calls.checked_sub(1))
            .map_err(|_| spent())?;
        let mut max_body = 0;
        let took = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
            max_body = bytes.min(limits.max_body);
            bytes.checked_sub(max_body)
        });
        if left.is_zero() || max_body == 0 || took.is_err() {
            self.bytes.fetch_add(max_body, Ordering::Relaxed);
            return Err(spent());
        }
        Ok(CallLimits { timeout: limits.timeout.min(left), max_body })
    }

    /// Gives back what an answer did not use of [`Gap::spend`].
    fn settle<T>(&self, limits: CallLimits, answer: &Result<T, CallError>, size: impl FnOnce(&T) -> usize) {
        let used = match answer {
            Ok(answer) => size(answer),
            Err(CallError::Transport(error)) => {
                self.unreached.store(true, Ordering::Relaxed);
                if matches!(error, crate::TransportError::TooLarge(_)) { limits.max_body } else { 0 }
            }
            // It was read to its end, whatever it was.
            Err(CallError::BadReply(_)) => limits.max_body,
            Err(_) => 0,
        };
        self.bytes.fetch_add(limits.max_body.saturating_sub(used), Ordering::Relaxed);
    }

    /// `POST /get_missing_events`: what lies between `earliest` and `latest`, at most `limit` events.
    pub(crate) async fn missing_events(
        &self,
        server: &ServerName,
        earliest: &[OwnedEventId],
        latest: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<Box<RawValue>>, CallError> {
        let mut request =
            api::get_missing_events::v1::Request::new(self.room.id.clone(), earliest.to_vec(), latest.to_vec());
        request.limit = UInt::try_from(limit).unwrap_or(UInt::MAX);
        let limits = self.spend(CallLimits::PAGES)?;
        let answer = self.fed.client.send(server, request, limits).await;
        self.settle(limits, &answer, |answer| size_of(&answer.events));
        let mut events = answer?.events;
        events.truncate(limit);
        Ok(events)
    }

    /// `GET /backfill`: at most `limit` events back from some, themselves among them.
    pub(crate) async fn backfill(
        &self,
        server: &ServerName,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<Box<RawValue>>, CallError> {
        let limit_asked = UInt::try_from(limit).unwrap_or(UInt::MAX);
        let request = get_backfill::v1::Request::new(self.room.id.clone(), from.to_vec(), limit_asked);
        let limits = self.spend(CallLimits::PAGES)?;
        let answer = self.fed.client.send(server, request, limits).await;
        self.settle(limits, &answer, |answer| size_of(&answer.pdus));
        let mut events = answer?.pdus;
        events.truncate(limit);
        Ok(events)
    }

    /// `GET /event_auth`: everything that allows an event.
    pub(crate) async fn event_auth(
        &self,
        server: &ServerName,
        event_id: &EventId,
    ) -> Result<Vec<Box<RawValue>>, CallError> {
        let request = get_event_authorization::v1::Request::new(self.room.id.clone(), event_id.to_owned());
        let limits = self.spend(CallLimits::PAGES)?;
        let answer = self.fed.client.send(server, request, limits).await;
        self.settle(limits, &answer, |answer| size_of(&answer.auth_chain));
        Ok(answer?.auth_chain)
    }

    /// `GET /state_ids` from the first server that tells: the state before an event.
    pub(crate) async fn state_ids(&self, event_id: &EventId) -> Result<StateIds, PduError> {
        let mut last = None;
        for server in &self.servers {
            let request = api::get_room_state_ids::v1::Request::new(event_id.to_owned(), self.room.id.clone());
            let limits = self.spend(CallLimits::PAGES)?;
            let answer = self.fed.client.send(server, request, limits).await;
            self.settle(limits, &answer, |answer| (answer.pdu_ids.len() + answer.auth_chain_ids.len()) * 48);
            match answer {
                Ok(answer) => {
                    let (state, auth_chain) = (unique(answer.pdu_ids), unique(answer.auth_chain_ids));
                    return Ok(StateIds { server: server.clone(), state, auth_chain });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| missing(std::slice::from_ref(&event_id.to_owned())), PduError::Call))
    }

    /// `GET /state`: the state before an event and all that allows it, whole.
    pub(crate) async fn whole_state(
        &self,
        server: &ServerName,
        event_id: &EventId,
    ) -> Result<Vec<Box<RawValue>>, CallError> {
        let request = api::get_room_state::v1::Request::new(event_id.to_owned(), self.room.id.clone());
        let limits = self.spend(CallLimits::LARGE)?;
        let answer = self.fed.client.send(server, request, limits).await;
        self.settle(limits, &answer, |answer| size_of(&answer.pdus) + size_of(&answer.auth_chain));
        let answer = answer?;
        Ok(answer.auth_chain.into_iter().chain(answer.pdus).collect())
    }

    /// `GET /event` for each of some ids, several at a time: those that came and are genuine.
    pub(crate) async fn events(&self, ids: &[OwnedEventId]) -> Vec<ReceivedEvent> {
        let requests: Vec<_> = ids.iter().map(|id| self.event(id)).collect();
        let raw: Vec<Option<Box<RawValue>>> = stream::iter(requests).buffered(PARALLEL).collect().await;
        self.checked(raw.into_iter().flatten().collect(), |id| ids.contains(id)).await
    }

    async fn event(&self, event_id: &EventId) -> Option<Box<RawValue>> {
        for server in &self.servers {
            let request = api::get_event::v1::Request::new(event_id.to_owned());
            let limits = CallLimits { max_body: EVENT_ANSWER, ..CallLimits::default() };
            let limits = self.spend(limits).ok()?;
            let answer = self.fed.client.send(server, request, limits).await;
            self.settle(limits, &answer, |answer| answer.pdu.get().len());
            match answer {
                Ok(answer) => return Some(answer.pdu),
                Err(error) => tracing::debug!(%server, %event_id, %error, "an event that is missing was not given"),
            }
        }
        None
    }

    /// Those of some events that are wanted, of this room and genuine. Signatures are looked at only where an event is wanted.
    pub(crate) async fn checked(
        &self,
        events: Vec<Box<RawValue>>,
        wanted: impl Fn(&OwnedEventId) -> bool,
    ) -> Vec<ReceivedEvent> {
        let rules = &self.room.rules;
        let mut parsed = parse_pdus(events, rules).await;
        parsed.retain(|event| match event {
            Ok(event) => event.event_id(rules).is_ok_and(|id| wanted(&id)),
            Err(error) => {
                tracing::debug!(room = %self.room.id, %error, "what another server gave is no event");
                false
            }
        });
        self.genuine(parsed).await
    }

    /// Those of some events that `cited` leads to and that are not here yet, of this room and genuine. Whatever else a server puts into
    /// an auth chain is neither checked nor kept.
    pub(crate) async fn checked_chain(
        &self,
        events: Vec<Box<RawValue>>,
        cited: &[OwnedEventId],
    ) -> Result<Vec<ReceivedEvent>, PduError> {
        let (parsed, _) = self.named(events).await;
        let parsed: BTreeMap<OwnedEventId, UnverifiedEvent> = parsed.into_iter().collect();
        let mut chain: BTreeSet<OwnedEventId> = BTreeSet::new();
        let mut open: Vec<OwnedEventId> = cited.to_vec();
        while let Some(id) = open.pop() {
            if let Some(event) = parsed.get(&id)
                && chain.insert(id)
            {
                open.extend(event.auth_events(&self.room.rules).unwrap_or_default());
            }
        }
        let absent = self.absent(&chain.into_iter().collect::<Vec<_>>()).await?;
        Ok(self.genuine_of(parsed.into_iter().collect(), absent).await)
    }

    /// Those of some events that have no place in the room yet, of this room and genuine.
    pub(crate) async fn checked_lacking(&self, events: Vec<Box<RawValue>>) -> Result<Vec<ReceivedEvent>, PduError> {
        let (parsed, ids) = self.named(events).await;
        let lacking = self.lacking(&ids).await?;
        Ok(self.genuine_of(parsed, lacking).await)
    }

    /// Events of proper form with the ids that they have if they are genuine.
    async fn named(&self, events: Vec<Box<RawValue>>) -> (Vec<(OwnedEventId, UnverifiedEvent)>, Vec<OwnedEventId>) {
        let rules = &self.room.rules;
        let parsed = parse_pdus(events, rules).await.into_iter().flatten();
        let named: Vec<(OwnedEventId, UnverifiedEvent)> =
            parsed.filter_map(|event| Some((event.event_id(rules).ok()?, event))).collect();
        let ids = named.iter().map(|(id, _)| id.clone()).collect();
        (named, ids)
    }

    async fn genuine_of(
        &self,
        events: Vec<(OwnedEventId, UnverifiedEvent)>,
        wanted: Vec<OwnedEventId>,
    ) -> Vec<ReceivedEvent> {
        let wanted: BTreeSet<OwnedEventId> = wanted.into_iter().collect();
        let events = events.into_iter().filter(|(id, _)| wanted.contains(id)).map(|(_, event)| Ok(event)).collect();
        self.genuine(events).await
    }

    async fn genuine(&self, parsed: Vec<Parsed>) -> Vec<ReceivedEvent> {
        let checked = self.fed.verify_pdus(parsed, &self.room.rules).await;
        let genuine = |event: Result<ReceivedEvent, PduError>| match event {
            Ok(event) if event.pdu.room_id == self.room.id => Some(event),
            Ok(event) => {
                tracing::debug!(room = %self.room.id, event = %event.pdu.event_id, "an event of another room was given");
                None
            }
            Err(error) => {
                tracing::debug!(room = %self.room.id, %error, "an event that is not genuine was given");
                None
            }
        };
        checked.into_iter().filter_map(genuine).collect()
    }

    /// Those of some ids that have no place in the room: not here, or known by reference only.
    pub(crate) async fn lacking(&self, ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, PduError> {
        let engine = &self.fed.engine;
        let mut out = Vec::new();
        for id in ids {
            let has_place = match engine.find_event(self.room.num, id.as_str()).await? {
                Some(num) => !engine.event(self.room.num, num).await?.outlier(),
                None => false,
            };
            if !has_place {
                out.push(id.clone());
            }
        }
        Ok(out)
    }

    /// Those of some ids that are not here in any form.
    pub(crate) async fn absent(&self, ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, PduError> {
        let mut out = Vec::new();
        for ids in ids.chunks(1000) {
            out.extend(self.fed.engine.absent(self.room, ids).await?);
        }
        Ok(out)
    }
}

/// [`PduError::Missing`] of these.
pub(crate) fn missing(ids: &[OwnedEventId]) -> PduError {
    match ids.first() {
        Some(first) => PduError::Missing { count: ids.len(), first: first.clone() },
        None => PduError::Unrelated,
    }
}

fn size_of(events: &[Box<RawValue>]) -> usize {
    events.iter().map(|event| event.get().len() + 1).sum()
}

fn unique(mut ids: Vec<OwnedEventId>) -> Vec<OwnedEventId> {
    ids.sort();
    ids.dedup();
    ids
}
