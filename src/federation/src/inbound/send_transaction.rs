//! `PUT /_matrix/federation/v1/send/{txnId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid)).

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use axum::extract::State;
use dashmap::DashMap;
use engine::{Engine, EngineError};
use futures::{StreamExt as _, stream};
use http_kit::{MatrixError, route_error};
use ruma::{
    OwnedEventId, OwnedServerName, RoomId, ServerName, UserId,
    api::federation::transactions::send_transaction_message::v1::{Request, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{IdKind, Json, Keyspace, Page, StoreError, Table};
use tokio::sync::Mutex;

use crate::{
    Api, Federation,
    inbound::Signed,
    pdus::{PduError, check::parse_pdus},
};

/// The largest body, in bytes: 50 events of 64 KiB with as much `unsigned` again, and what is told beside them.
pub(super) const MAX_BODY: usize = 12 << 20;
/// Events and other news of one transaction, at most, as the specification says.
const MAX_PDUS: usize = 50;
const MAX_EDUS: usize = 100;
/// Bytes of a transaction id.
const MAX_TXN_ID: usize = 255;
/// Rooms of one transaction that are looked at together.
const ROOMS_AT_ONCE: usize = 4;
/// Transactions of one server that are under way or wait for the same one, at most.
const MAX_RUNNING: usize = 16;
/// The same of all servers.
const MAX_RUNNING_ALL: usize = 512;
/// Answers kept for each server, the newest ones.
pub(crate) const ANSWERS_KEPT: usize = 16;

/// What became of each event, by its id: an error or none.
type Results = BTreeMap<OwnedEventId, Result<(), String>>;

/// The answer to a transaction: (server, transaction id).
const ANSWERS: Table<(String, String), Json<Answer>> = Table::new(Keyspace::Index, 74, "transaction_answers");
/// Answers by the time they were given at: (server, milliseconds, transaction id).
const ANSWER_TIMES: Table<(String, u64, String), ()> = Table::new(Keyspace::Index, 75, "transaction_answer_times");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    errors: BTreeMap<OwnedEventId, Option<String>>,
}

/// The transactions under way, so that the same one is taken once.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    running: DashMap<OwnedServerName, HashMap<String, Running>>,
}

#[derive(Debug, Default)]
struct Running {
    turn: Arc<Mutex<()>>,
    count: usize,
}

/// One request among those under way, until it goes out of scope.
struct Ticket {
    fed: Arc<Federation>,
    origin: OwnedServerName,
    txn_id: String,
    turn: Arc<Mutex<()>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("A transaction has at most {MAX_PDUS} events and {MAX_EDUS} ephemeral ones")]
    TooMany,
    #[error("A transaction id has at most {MAX_TXN_ID} bytes")]
    LongId,
    #[error("Too many transactions at once")]
    Busy,
    #[error("the transaction did not end: {0}")]
    Broken(String),
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::TooMany => MatrixError::too_large(error.to_string()),
            RouteError::LongId => MatrixError::invalid_param("txnId", error),
            RouteError::Busy => MatrixError::limit_exceeded(Duration::from_secs(1)),
            RouteError::Broken(_) => MatrixError::internal(error),
        }
    }
}
route_error!(RouteError);

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<Response, RouteError> {
    let Signed { body, origin, .. } = request;
    if body.pdus.len() > MAX_PDUS || body.edus.len() > MAX_EDUS {
        return Err(RouteError::TooMany);
    }
    let txn_id = body.transaction_id.to_string();
    if txn_id.len() > MAX_TXN_ID {
        return Err(RouteError::LongId);
    }
    let ticket = Ticket::take(&api.0, origin, txn_id).ok_or(RouteError::Busy)?;
    let edus = body.edus.into_iter().map(ruma::serde::Raw::into_json).collect();
    // A task of its own: a server that hangs up and tries again finds it going on.
    let task = tokio::spawn(async move { ticket.answer(body.pdus, edus).await });
    let results = task.await.map_err(|error| RouteError::Broken(error.to_string()))?;
    Ok(Response::new(results.map_err(|error| RouteError::Broken(error.to_string()))?))
}

impl Ticket {
    fn take(fed: &Arc<Federation>, origin: OwnedServerName, txn_id: String) -> Option<Self> {
        let transactions = &fed.inbound.transactions.running;
        if transactions.len() >= MAX_RUNNING_ALL && !transactions.contains_key(&origin) {
            return None;
        }
        let mut of_origin = transactions.entry(origin.clone()).or_default();
        if of_origin.values().map(|running| running.count).sum::<usize>() >= MAX_RUNNING {
            return None;
        }
        let running = of_origin.entry(txn_id.clone()).or_default();
        running.count += 1;
        let turn = Arc::clone(&running.turn);
        drop(of_origin);
        Some(Self { fed: Arc::clone(fed), origin, txn_id, turn })
    }

    /// Takes the transaction, or finds the answer that was given to it.
    async fn answer(self, pdus: Vec<Box<RawValue>>, edus: Vec<Box<RawValue>>) -> Result<Results, EngineError> {
        let _turn = self.turn.lock().await;
        let key = (self.origin.to_string(), self.txn_id.clone());
        if let Some(Json(answer)) = self.fed.db.get(&ANSWERS, &key).await? {
            return Ok(answer.errors.into_iter().map(|(id, error)| (id, error.map_or(Ok(()), Err))).collect());
        }
        let results = self.fed.take_pdus(&self.origin, pdus).await;
        // What could not be kept comes again, as the whole transaction does: there is no answer to it yet.
        self.fed.take_edus(&self.origin, &edus).await?;
        let errors = results.iter().map(|(id, result)| (id.clone(), result.clone().err())).collect();
        self.fed.keep_answer(key, Answer { errors }).await?;
        Ok(results)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let transactions = &self.fed.inbound.transactions.running;
        if let Some(mut of_origin) = transactions.get_mut(&self.origin)
            && let Some(running) = of_origin.get_mut(&self.txn_id)
        {
            running.count = running.count.saturating_sub(1);
            if running.count == 0 {
                of_origin.remove(&self.txn_id);
            }
        }
        transactions.remove_if(&self.origin, |_, of_origin| of_origin.is_empty());
    }
}

/// What says where an event belongs, before its form is known.
#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow)]
    room_id: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Option<Cow<'a, str>>,
}

impl Federation {
    /// Keeps the answer to a transaction, and of older ones of the same server a few.
    async fn keep_answer(&self, key: (String, String), answer: Answer) -> Result<(), StoreError> {
        let (origin, txn_id) = key.clone();
        let kept = self.db.scan_prefix(&ANSWER_TIMES, &origin, Page::last(ANSWERS_KEPT * 2)).await?;
        let mut write = self.db.write();
        for (time, ()) in kept.into_iter().skip(ANSWERS_KEPT - 1) {
            write.delete(&ANSWERS, &(time.0.clone(), time.2.clone())).delete(&ANSWER_TIMES, &time);
        }
        write.put(&ANSWERS, &key, &Json(answer)).put(&ANSWER_TIMES, &(origin, self.clock.now_ms(), txn_id), &());
        write.commit().await.map_err(|error| StoreError::Backend(error.to_string()))
    }

    /// Takes the events of a transaction: those of one room in their order, several rooms together. Events of rooms that are not known
    /// here have no id that could be told, unless they carry one, and are passed over.
    pub(crate) async fn take_pdus(&self, origin: &ServerName, pdus: Vec<Box<RawValue>>) -> Results {
        let mut rooms: BTreeMap<String, Vec<Box<RawValue>>> = BTreeMap::new();
        for pdu in pdus {
            let Ok(place) = serde_json::from_str::<Place<'_>>(pdu.get()) else { continue };
            let room_id = place.room_id.into_owned();
            rooms.entry(room_id).or_default().push(pdu);
        }
        let rooms: Vec<_> = rooms.into_iter().map(|(room_id, pdus)| self.take_room(origin, room_id, pdus)).collect();
        stream::iter(rooms).buffer_unordered(ROOMS_AT_ONCE).concat().await
    }

    /// Takes events of one room, in their order. An error tells of what could not be dealt with; an event that the rules refuse, or that
    /// comes too late for what the room is now, is dealt with once it is stored with that verdict, and is no error.
    async fn take_room(&self, origin: &ServerName, room_id: String, pdus: Vec<Box<RawValue>>) -> Results {
        let room = match <&RoomId>::try_from(room_id.as_str()) {
            Ok(room_id) => self.engine.room(room_id).await,
            Err(_) => Err(EngineError::UnknownRoom),
        };
        let room = match room {
            Ok(room) if !room.info().local_members.is_empty() => room,
            // What still concerns us is how an invitation ended, or a knock.
            Ok(_) | Err(EngineError::UnknownRoom) => {
                let mut results = refuse(&pdus, &EngineError::UnknownRoom.to_string());
                results.extend(self.take_endings(&room_id, &pdus).await);
                return results;
            }
            Err(error) => return refuse(&pdus, &error.to_string()),
        };
        let parsed = parse_pdus(pdus, &room.rules).await;
        let ids: Vec<Option<OwnedEventId>> =
            parsed.iter().map(|event| event.as_ref().ok()?.event_id(&room.rules).ok()).collect();
        let refusal = match self.engine.acl_allows(&room, origin).await {
            Ok(true) => None,
            Ok(false) => Some("the room's access control list denies the server".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(refusal) = refusal {
            return ids.into_iter().flatten().map(|id| (id, Err(refusal.clone()))).collect();
        }
        let mut results = Results::new();
        for (event, id) in self.verify_pdus(parsed, &room.rules).await.into_iter().zip(ids) {
            let received = match event {
                Ok(event) => self.receive_pdu(origin, &room, event).await,
                Err(error) => Err(error),
            };
            let Some(id) = id else { continue };
            if let Err(error) = &received {
                tracing::info!(%origin, room = %room.id, event = %id, %error, "an event was not taken");
            }
            let result = match received {
                // What nobody gives the past of is looked at to no end, as what the rules reject is: neither is an error of the sender's.
                Ok(_) | Err(PduError::Missing { .. }) => Ok(()),
                Err(error) => Err(words_for(&error)),
            };
            results.insert(id, result);
        }
        results
    }
}

/// What says whose membership an event is about, before its form is known.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    state_key: Option<Cow<'a, str>>,
}

impl Federation {
    /// Takes, of the events of a room in which nobody of ours is, those that end a local user's invitation or knock. Only for such a user
    /// is anything checked or fetched.
    async fn take_endings(&self, room_id: &str, pdus: &[Box<RawValue>]) -> Results {
        let mut results = Results::new();
        for pdu in pdus {
            match self.take_ending(room_id, pdu).await {
                Ok(Some(id)) => drop(results.insert(id, Ok(()))),
                Ok(None) => {}
                Err(error) => tracing::info!(room = room_id, %error, "the end of an invitation was not taken"),
            }
        }
        results
    }

    async fn take_ending(&self, room_id: &str, pdu: &RawValue) -> Result<Option<OwnedEventId>, PduError> {
        let Ok(about) = serde_json::from_str::<About<'_>>(pdu.get()) else { return Ok(None) };
        let user = about.state_key.as_deref().and_then(|key| <&UserId>::try_from(key).ok());
        let (Some(user), "m.room.member") = (user.filter(|user| self.engine.is_local(user)), &*about.kind) else {
            return Ok(None);
        };
        let Ok(room_id) = <&RoomId>::try_from(room_id) else { return Ok(None) };
        // Nobody is given a number because a stranger made up a name.
        let user = self.engine.ids.find(IdKind::User, user.as_str()).await.map_err(EngineError::from)?;
        let Some(user) = user else { return Ok(None) };
        let Some((num, _)) = self.engine.place_outside(room_id, user).await? else { return Ok(None) };
        let Some(asked) = self.engine.outside(user, num).await? else { return Ok(None) };
        let event = self.check_pdu(pdu, &Engine::rules(&asked.version)?).await?;
        let id = event.pdu.event_id.clone();
        Ok(self.engine.receive_membership_outside(event).await?.then_some(id))
    }
}

/// What other servers are told of an error: nothing of what happens in here.
fn words_for(error: &PduError) -> String {
    match error {
        PduError::Engine(
            EngineError::Write(_) | EngineError::Store(_) | EngineError::Inconsistent(_) | EngineError::Conflict,
        ) => "something went wrong here".to_owned(),
        error => error.to_string(),
    }
}

/// The same error for all events that carry their id.
fn refuse(pdus: &[Box<RawValue>], why: &str) -> Results {
    let id = |pdu: &RawValue| {
        let place: Place<'_> = serde_json::from_str(pdu.get()).ok()?;
        OwnedEventId::try_from(place.event_id?.as_ref()).ok()
    };
    pdus.iter().filter_map(|pdu| Some((id(pdu)?, Err(why.to_owned())))).collect()
}

/// How many answers are kept for a server.
#[cfg(test)]
pub(crate) async fn answers_kept(db: &store::Db, origin: &str) -> usize {
    let answers = db.scan_all(&ANSWERS, &origin.to_owned()).await.unwrap();
    let times = db.scan_all(&ANSWER_TIMES, &origin.to_owned()).await.unwrap();
    assert_eq!(answers.len(), times.len());
    answers.len()
}
