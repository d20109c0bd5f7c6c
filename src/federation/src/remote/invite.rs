//! Inviting users of other servers.
//! [Inviting to a room](https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room).

use std::{collections::BTreeMap, sync::Arc};

use engine::{EngineError, NewEvent, Received, Room, Verdict};
use http::{Method, StatusCode};
use room::{SignedEvent, check::ReceivedEvent};
use ruma::{OwnedEventId, OwnedUserId, ServerName, UserId, events::TimelineEventType};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{RemoteError, SMALL, called, join::path, unrecognized};
use crate::{CallError, Federation};

/// An invitation that a local user sends to a user of another server.
#[derive(Debug, Clone)]
pub struct RemoteInvitee {
    /// The room.
    pub room: Arc<Room>,
    /// Who invites.
    pub sender: OwnedUserId,
    /// Who is invited.
    pub invited: OwnedUserId,
    /// The content of the membership event: the text of a JSON object.
    pub content: String,
    /// The sending device.
    pub device: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    room_version: &'a str,
    event: &'a RawValue,
    invite_room_state: &'a [Box<RawValue>],
}

#[derive(Deserialize)]
struct Answer {
    event: Box<RawValue>,
}

impl Federation {
    /// Invites a user of another server: their server signs the invitation, then it is an event of the room.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn invite(self: &Arc<Self>, invite: RemoteInvitee) -> Result<OwnedEventId, RemoteError> {
        let this = Arc::clone(self);
        // Where the caller stops waiting, the invited user may know of it already.
        tokio::spawn(async move { this.invite_now(&invite).await }).await.map_err(|_| RemoteError::Stopping)?
    }

    async fn invite_now(&self, invite: &RemoteInvitee) -> Result<OwnedEventId, RemoteError> {
        let RemoteInvitee { room, sender, invited, content, device } = invite;
        let server = invited.server_name();
        if !self.engine.acl_allows(room, server).await? {
            return Err(EngineError::Forbidden(format!("The room does not let {server} in")).into());
        }
        let event = NewEvent {
            sender,
            sender_num: self.engine.user_num(sender).await?,
            event_type: TimelineEventType::RoomMember,
            state_key: Some(invited.as_str()),
            content,
            redacts: None,
            origin_server_ts: None,
            device: device.as_deref(),
            txn_id: None,
        };
        // No lock is held while the other server thinks about it.
        let drafted = self.engine.write(room).await?.draft(&event).await?;
        let drafted = self.engine.approved(room, drafted).await?;
        let signed = self.countersigned(room, sender, server, &drafted).await?;
        match self.engine.receive(room, signed).await? {
            Received::Stored { verdict: Verdict::Accepted, .. } | Received::Known(_) => Ok(drafted.pdu.event_id),
            Received::Stored { .. } | Received::Missing(_) => {
                Err(EngineError::Forbidden("The room changed meanwhile: you may invite no more".to_owned()).into())
            }
        }
    }

    /// The invitation with the signature of the invited user's server.
    async fn countersigned(
        &self,
        room: &Room,
        sender: &UserId,
        server: &ServerName,
        drafted: &SignedEvent,
    ) -> Result<ReceivedEvent, RemoteError> {
        let bad = |error: &dyn std::fmt::Display| RemoteError::bad(server, error);
        let event: &RawValue = serde_json::from_str(&drafted.json).map_err(|error| bad(&error))?;
        let state = self.engine.preview(room, Some(sender)).await?;
        let body = Body { room_version: room.version.as_str(), event, invite_room_state: &state };
        let body = to_raw_value(&body).map_err(|error| bad(&error))?;
        let target = path("v2/invite", drafted);
        let Answer { event } = match self.client.json(server, Method::PUT, target, Some(&body), SMALL).await {
            Err(error) if may_be_older(&error) && !room.names_events_by_hash() => {
                match self.invite_by_v1(server, drafted, &state).await {
                    // It does not know the older endpoint either: what it said before is the better answer.
                    Err(again) if unrecognized(&again) => Err(error),
                    other => other,
                }
            }
            other => other,
        }
        .map_err(called(server))?;
        let signed = self.check_pdu(&event, &room.rules).await.map_err(|error| bad(&error))?;
        if signed.pdu.event_id != drafted.pdu.event_id || signed.redacted || !signed_by(&signed.json, server) {
            return Err(bad(&"the invitation came back changed or not signed"));
        }
        Ok(signed)
    }

    /// The first version of the endpoint: the event alone, with the state in what is not signed of it.
    async fn invite_by_v1(
        &self,
        server: &ServerName,
        drafted: &SignedEvent,
        state: &[Box<RawValue>],
    ) -> Result<Answer, CallError> {
        let bad = |error: serde_json::Error| CallError::BadRequest(error.to_string());
        let mut event: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&drafted.json).map_err(bad)?;
        let unsigned = BTreeMap::from([("invite_room_state", state)]);
        event.insert("unsigned".to_owned(), to_raw_value(&unsigned).map_err(bad)?);
        let body = to_raw_value(&event).map_err(bad)?;
        let target = path("v1/invite", drafted);
        let (_, answer): (u16, Answer) = self.client.json(server, Method::PUT, target, Some(&body), SMALL).await?;
        Ok(answer)
    }
}

/// Whether a refusal may come from a server that knows the first version of the endpoint alone.
fn may_be_older(error: &CallError) -> bool {
    unrecognized(error) || error.is_status(StatusCode::NOT_FOUND) || error.is_status(StatusCode::BAD_REQUEST)
}

fn signed_by(json: &str, server: &ServerName) -> bool {
    #[derive(Deserialize)]
    struct Signed {
        signatures: serde_json::Map<String, serde_json::Value>,
    }
    serde_json::from_str::<Signed>(json).is_ok_and(|event| event.signatures.contains_key(server.as_str()))
}
