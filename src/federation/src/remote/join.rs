//! Joining rooms of other servers.
//! [Joining rooms](https://spec.matrix.org/v1.19/server-server-api/#joining-rooms).

use std::sync::Arc;

use engine::{EngineError, Membership, Received, RemoteRoom, Room, Verdict};
use http::Method;
use room::SignedEvent;
use ruma::{
    OwnedRoomId, OwnedServerName, OwnedUserId, ServerName, api::federation::membership::prepare_join_event::v1,
    events::room::member::MembershipState,
};
use serde_json::{Map, Value, value::RawValue};

use super::{
    RemoteError, SMALL,
    answer::{Answer, Asked},
    called, clearest, rules_of,
    template::Wanted,
    unrecognized, versions,
};
use crate::{CallError, CallLimits, Federation};

/// A join of a room through another server.
#[derive(Debug, Clone)]
pub struct RemoteJoin {
    /// Who joins.
    pub user_id: OwnedUserId,
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that may be in the room.
    pub via: Vec<OwnedServerName>,
    /// The content of the membership event, without the membership itself and who vouches for it.
    pub content: Map<String, Value>,
    /// This server is in the room, but cannot let the user in.
    pub elsewhere: bool,
}

/// What became of a join.
#[derive(Debug, Clone)]
pub enum Joined {
    /// The user is in the room.
    Entered(Arc<Room>),
    /// Another user of this server entered the room meanwhile: it can be joined like a room of this server.
    Here(Arc<Room>),
}

impl Federation {
    /// Joins a room through the first of several servers that lets the user in. Goes on where the caller stops waiting: a server
    /// that was asked may have let the user in already.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn join(self: &Arc<Self>, join: RemoteJoin) -> Result<Joined, RemoteError> {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.join_now(&join).await }).await.map_err(|_| RemoteError::Stopping)?
    }

    async fn join_now(&self, join: &RemoteJoin) -> Result<Joined, RemoteError> {
        let lock = self.remote.entering(&join.room_id);
        let _entering = lock.lock().await;
        let known = match self.engine.room(&join.room_id).await {
            Ok(room) => Some(room).filter(|room| !room.info().local_members.is_empty()),
            Err(EngineError::UnknownRoom) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(room) = &known {
            let membership = self.engine.membership(room.num, join.user_id.as_str()).await?;
            if membership == Some(Membership::Join) {
                return Ok(Joined::Entered(Arc::clone(room)));
            }
            if !join.elsewhere {
                return Ok(Joined::Here(Arc::clone(room)));
            }
        }
        let mut failure = None;
        for server in self.candidates(&join.room_id, &join.user_id, &join.via).await? {
            // Who was named knows the room and refused: others are not asked behind the user's back.
            if !join.via.is_empty()
                && !join.via.contains(&server)
                && failure.as_ref().is_some_and(RemoteError::is_refusal)
            {
                break;
            }
            match self.join_through(&server, join, known.as_ref()).await {
                Ok(room) => {
                    // Whatever was entered before us comes behind; who reads the ledger asks again where this is lost.
                    if known.is_none()
                        && let Err(error) = self.want_ledger(room.num, &[]).await
                    {
                        tracing::warn!(%error, room_id = %room.id, "the ledger was not asked for");
                    }
                    return Ok(Joined::Entered(room));
                }
                Err(error) => {
                    tracing::debug!(%error, %server, room_id = %join.room_id, "a join failed");
                    failure = clearest(failure, error);
                }
            }
        }
        Err(failure.unwrap_or(RemoteError::NoServer))
    }

    async fn join_through(
        &self,
        server: &ServerName,
        join: &RemoteJoin,
        known: Option<&Arc<Room>>,
    ) -> Result<Arc<Room>, RemoteError> {
        let mut request = v1::Request::new(join.room_id.clone(), join.user_id.clone());
        request.ver = versions();
        let made = self.client.send(server, request, SMALL).await.map_err(called(server))?;
        let (version, rules) = rules_of(made.room_version)?;
        if known.is_some_and(|room| room.version != version) {
            return Err(RemoteError::bad(server, "the room is of another version"));
        }
        let wanted = Wanted {
            room_id: &join.room_id,
            user_id: &join.user_id,
            membership: MembershipState::Join,
            content: &join.content,
        };
        let event = self.sign_template(server, &made.event, &rules, &wanted)?;
        let answer = self.send_join(server, &event).await?;
        let asked = Asked { server, version, rules: &rules, join: &event };
        let entered = self.check_answer(asked, answer).await?;
        match known {
            Some(room) => self.rejoin(server, room, entered).await,
            None => {
                let room = self.engine.enter(entered).await?;
                self.fills.wake();
                Ok(room)
            }
        }
    }

    /// Where users of this server are in the room, its own idea of the state counts, and the join is an event like any other.
    async fn rejoin(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        entered: RemoteRoom,
    ) -> Result<Arc<Room>, RemoteError> {
        match self.receive_pdu(server, room, entered.event).await {
            Ok(Received::Stored { verdict: Verdict::Accepted, .. } | Received::Known(_)) => Ok(Arc::clone(room)),
            Ok(_) => Err(EngineError::Forbidden("The rules of the room do not allow this".to_owned()).into()),
            Err(error) => Err(RemoteError::bad(server, error)),
        }
    }

    async fn send_join(&self, server: &ServerName, event: &SignedEvent) -> Result<Answer, RemoteError> {
        let body = text(event).map_err(called(server))?;
        let target = format!("{}?omit_members=true", path("v2/send_join", event));
        match self.client.json(server, Method::PUT, target, Some(body), CallLimits::LARGE).await {
            Err(error) if unrecognized(&error) => {
                let target = path("v1/send_join", event);
                let answer = self.client.json(server, Method::PUT, target, Some(body), CallLimits::LARGE).await;
                let (_, answer): (u16, Answer) = answer.map_err(called(server))?;
                Ok(answer)
            }
            other => other.map_err(called(server)),
        }
    }

    /// Sends a membership event to an endpoint, such as `v2/send_leave`.
    pub(super) async fn send_membership<T: serde::de::DeserializeOwned>(
        &self,
        server: &ServerName,
        endpoint: &str,
        event: &SignedEvent,
    ) -> Result<T, CallError> {
        self.client.json(server, Method::PUT, path(endpoint, event), Some(text(event)?), SMALL).await
    }
}

fn text(event: &SignedEvent) -> Result<&RawValue, CallError> {
    serde_json::from_str(&event.json).map_err(|error| CallError::BadRequest(error.to_string()))
}

/// The path of an endpoint that takes an event of a room.
pub(super) fn path(endpoint: &str, event: &SignedEvent) -> String {
    let (room_id, event_id) = (encoded(event.pdu.room_id.as_str()), encoded(event.pdu.event_id.as_str()));
    format!("/_matrix/federation/{endpoint}/{room_id}/{event_id}")
}

/// A path segment with everything escaped that may not stand in one.
fn encoded(segment: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(segment.len() + 16);
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
