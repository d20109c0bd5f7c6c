//! The room as the server says it is that let a user of ours in: checked before the engine sees any of it.
//! [send_join](https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    marker::PhantomData,
};

use engine::{OmittedMembers, RemoteRoom};
use room::{RoomVersionRules, SignedEvent, check::ReceivedEvent};
use ruma::{OwnedEventId, OwnedServerName, RoomVersionId, ServerName, events::TimelineEventType};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{RemoteError, received};
use crate::Federation;

/// Events in one list of an answer, at most: the largest rooms there are have a third as much state.
const MAX_EVENTS: usize = 500_000;
/// Servers in a room, at most.
const MAX_SERVERS: usize = 100_000;

/// The body of an answer.
#[derive(Deserialize)]
pub(super) struct Answer {
    #[serde(default, deserialize_with = "bounded")]
    state: Vec<Box<RawValue>>,
    #[serde(default, deserialize_with = "bounded")]
    auth_chain: Vec<Box<RawValue>>,
    event: Option<Box<RawValue>>,
    #[serde(default)]
    members_omitted: bool,
    #[serde(default, deserialize_with = "bounded_servers")]
    servers_in_room: Vec<OwnedServerName>,
}

/// Stops reading where there is more than anybody needs.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Box<RawValue>>, D::Error> {
    deserializer.deserialize_seq(AtMost::<MAX_EVENTS, _>(PhantomData))
}

fn bounded_servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OwnedServerName>, D::Error> {
    deserializer.deserialize_seq(AtMost::<MAX_SERVERS, _>(PhantomData))
}

struct AtMost<const N: usize, T>(PhantomData<T>);

impl<'de, const N: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<N, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {N}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == N {
                return Err(A::Error::custom(format_args!("more than {N} entries")));
            }
            items.push(item);
        }
        Ok(items)
    }
}

/// What was asked for.
pub(super) struct Asked<'a> {
    pub(super) server: &'a ServerName,
    pub(super) version: RoomVersionId,
    pub(super) rules: &'a RoomVersionRules,
    pub(super) join: &'a SignedEvent,
}

type Slot = (TimelineEventType, String);

impl Federation {
    /// Checks an answer. Events that are not genuine, and those that nothing genuine allows, are left out; where the rest is not a
    /// room that the user could have joined, none of it is taken.
    pub(super) async fn check_answer(&self, asked: Asked<'_>, answer: Answer) -> Result<RemoteRoom, RemoteError> {
        let bad = |why: &str| RemoteError::bad(asked.server, why);
        let event = self.check_join(&asked, answer.event).await?;
        let mut genuine = self.genuine(&asked, answer.state, answer.auth_chain).await?;
        closed(&mut genuine);
        let room_id = &asked.join.pdu.room_id;
        if genuine.events.values().any(|(event, _)| event.pdu.room_id != *room_id) {
            return Err(bad("events of another room"));
        }
        if asked.join.pdu.auth_events.iter().any(|id| !genuine.events.contains_key(id)) {
            return Err(bad("events that allow the join are missing"));
        }
        let mut slots: BTreeMap<Slot, OwnedEventId> = BTreeMap::new();
        let (mut state, mut auth_chain) = (Vec::new(), Vec::new());
        for (id, (event, is_state)) in genuine.events {
            if !is_state {
                auth_chain.push(event);
                continue;
            }
            let key = event.pdu.state_key.clone().ok_or_else(|| bad("state without a state key"))?;
            if slots.insert((event.pdu.event_type.clone(), key), id).is_some() {
                return Err(bad("two events for one entry of the state"));
            }
            state.push(event);
        }
        self.check_create(&asked, &state)?;
        let omitted = answer
            .members_omitted
            .then(|| OmittedMembers { via: asked.server.to_owned(), servers: answer.servers_in_room });
        Ok(RemoteRoom { version: asked.version, auth_chain, state, event, omitted })
    }

    /// The join as it goes to everybody: with the other server's signature where one of its users vouches for it.
    async fn check_join(&self, asked: &Asked<'_>, given: Option<Box<RawValue>>) -> Result<ReceivedEvent, RemoteError> {
        let ours = asked.join;
        if let Some(given) = given {
            let event = self.check_pdu(&given, asked.rules).await;
            let event = event.map_err(|error| RemoteError::bad(asked.server, format_args!("the join: {error}")))?;
            if event.pdu.event_id != ours.pdu.event_id || event.redacted {
                return Err(RemoteError::bad(asked.server, "the join is not the one that it was sent"));
            }
            return Ok(event);
        }
        if ours.pdu.content.get().contains("\"join_authorised_via_users_server\"") {
            return Err(RemoteError::bad(asked.server, "the join is not signed by who vouches for it"));
        }
        Ok(received(ours.clone()))
    }

    /// The room stands on one create event, of the version that was said.
    fn check_create(&self, asked: &Asked<'_>, state: &[ReceivedEvent]) -> Result<(), RemoteError> {
        #[derive(Deserialize)]
        struct Content {
            room_version: Option<RoomVersionId>,
        }
        let bad = |why: &str| RemoteError::bad(asked.server, why);
        let create = state
            .iter()
            .map(|event| &event.pdu)
            .find(|pdu| pdu.event_type == TimelineEventType::RoomCreate && pdu.state_key.as_deref() == Some(""));
        let create = create.ok_or_else(|| bad("the create event is missing"))?;
        let content: Content = serde_json::from_str(create.content.get()).map_err(|error| bad(&error.to_string()))?;
        if content.room_version.unwrap_or(RoomVersionId::V1) != asked.version {
            return Err(bad("the room is not of the version that it said"));
        }
        Ok(())
    }

    /// Those events that are genuine, each once, and whether they are in the state.
    async fn genuine(
        &self,
        asked: &Asked<'_>,
        state: Vec<Box<RawValue>>,
        auth_chain: Vec<Box<RawValue>>,
    ) -> Result<Genuine, RemoteError> {
        let in_state = state.len();
        let seen: HashSet<&str> = state.iter().map(|event| event.get()).collect();
        // Most of the auth chain is in the state as well: nothing is checked twice.
        let only: Vec<bool> = auth_chain.iter().map(|event| !seen.contains(event.get())).collect();
        let rest = auth_chain.into_iter().zip(only).filter_map(|(event, only)| only.then_some(event));
        let mut all = state;
        all.extend(rest);
        let mut events: BTreeMap<OwnedEventId, (ReceivedEvent, bool)> = BTreeMap::new();
        for (index, checked) in self.check_pdus(all, asked.rules).await.into_iter().enumerate() {
            match checked {
                Ok(event) => {
                    let entry = events.entry(event.pdu.event_id.clone()).or_insert((event, false));
                    entry.1 |= index < in_state;
                }
                Err(error) => tracing::debug!(%error, server = %asked.server, "an event of a room is left out"),
            }
        }
        Ok(Genuine { events })
    }
}

/// Events by id, and whether they are in the state.
struct Genuine {
    events: BTreeMap<OwnedEventId, (ReceivedEvent, bool)>,
}

/// Leaves out what cites events that are not there, and what cites those, and so on.
fn closed(genuine: &mut Genuine) {
    let mut citing: HashMap<OwnedEventId, Vec<OwnedEventId>> = HashMap::new();
    let mut gone: Vec<OwnedEventId> = Vec::new();
    for (id, (event, _)) in &genuine.events {
        for cited in BTreeSet::from_iter(&event.pdu.auth_events) {
            if genuine.events.contains_key(cited) {
                citing.entry(cited.clone()).or_default().push(id.clone());
            } else {
                gone.push(id.clone());
            }
        }
    }
    while let Some(id) = gone.pop() {
        if genuine.events.remove(&id).is_some() {
            tracing::debug!(%id, "an event of a room is left out: what allows it is not there");
            gone.extend(citing.remove(&id).unwrap_or_default());
        }
    }
}
