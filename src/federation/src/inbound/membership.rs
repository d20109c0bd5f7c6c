//! What the endpoints that make and take membership events have in common.
//! [Joining rooms](https://spec.matrix.org/v1.19/server-server-api/#joining-rooms).

use std::sync::Arc;

use engine::{EngineError, NewEvent, Received, Room, Verdict};
use http::StatusCode;
use http_kit::{MatrixError, route_error};
use room::check::{CheckError, ReceivedEvent};
use ruma::{
    EventId, OwnedUserId, RoomId, RoomVersionId, ServerName, UserId,
    events::{TimelineEventType, room::member::MembershipState},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::reads::RouteError as ReadError;
use crate::{Api, pdus::PduError};

/// Why a membership of another server's user is not made or taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MembershipError {
    /// This server does not know the room, or none of its users is in it.
    #[error("No user of this server is in the room: ask another server")]
    NotHere,
    /// This server entered the room a moment ago and does not know all of its members yet.
    #[error("This server does not know all members of the room yet: ask another server")]
    Partial,
    /// The room's access control list bars the server.
    #[error("The room does not let your server in")]
    Barred,
    /// A server speaks for its own users only.
    #[error("The user is not one of your server's")]
    NotYours,
    /// The other server does not support the room's version.
    #[error("Your server does not support version {0} of rooms")]
    IncompatibleVersion(RoomVersionId),
    /// The room has conditions that this server cannot check.
    #[error("This server cannot tell whether the user meets the conditions of the room: ask another server")]
    UnableToAuthorise,
    /// The user meets the conditions, but nobody here may let them in.
    #[error("Nobody on this server may let users into the room: ask another server")]
    UnableToGrant,
    /// The rules of the room refuse it.
    #[error("{0}")]
    Forbidden(String),
    /// Not the event that the endpoint takes.
    #[error("{0}")]
    BadEvent(String),
    /// The invited user takes no invitations.
    #[error("The user takes no invitations")]
    InviteBlocked,
    /// Too many invitations, of a server or for a user.
    #[error("Too many invitations: try again later")]
    Limited(Box<MatrixError>),
    /// No such user.
    #[error("There is no such user")]
    UnknownUser,
    /// The answer would be too large.
    #[error("{0}")]
    TooLarge(String),
    /// The engine.
    #[error(transparent)]
    Engine(EngineError),
    /// Accounts.
    #[error(transparent)]
    Users(#[from] users::UsersError),
}

impl From<EngineError> for MembershipError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::UnknownRoom => Self::NotHere,
            EngineError::Forbidden(why) => Self::Forbidden(why),
            EngineError::BadEvent(why) | EngineError::TooLarge(why) => Self::BadEvent(why),
            other => Self::Engine(other),
        }
    }
}

impl From<PduError> for MembershipError {
    fn from(error: PduError) -> Self {
        match error {
            PduError::Engine(error) => error.into(),
            other => Self::BadEvent(other.to_string()),
        }
    }
}

impl From<ReadError> for MembershipError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Engine(error) => error.into(),
            other => Self::TooLarge(other.to_string()),
        }
    }
}

impl From<CheckError> for MembershipError {
    fn from(error: CheckError) -> Self {
        Self::BadEvent(error.to_string())
    }
}

impl From<MembershipError> for MatrixError {
    fn from(error: MembershipError) -> Self {
        let text = error.to_string();
        let bad = |errcode: &'static str, text: String| Self::new(StatusCode::BAD_REQUEST, errcode, text);
        match error {
            MembershipError::NotHere | MembershipError::Partial | MembershipError::UnknownUser => Self::not_found(text),
            MembershipError::Barred | MembershipError::NotYours | MembershipError::Forbidden(_) => {
                Self::forbidden(text)
            }
            MembershipError::IncompatibleVersion(version) => {
                bad("M_INCOMPATIBLE_ROOM_VERSION", text).with("room_version", version.as_str())
            }
            MembershipError::UnableToAuthorise => bad("M_UNABLE_TO_AUTHORISE_JOIN", text),
            MembershipError::UnableToGrant => bad("M_UNABLE_TO_GRANT_JOIN", text),
            MembershipError::BadEvent(_) => bad("M_INVALID_PARAM", text),
            MembershipError::Limited(error) => *error,
            MembershipError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", text),
            MembershipError::InviteBlocked => Self::new(StatusCode::FORBIDDEN, "M_INVITE_BLOCKED", text),
            MembershipError::Engine(EngineError::Conflict) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", "The room changed at the same time: try again")
            }
            MembershipError::Engine(error) => Self::internal(error),
            MembershipError::Users(error) => Self::internal(error),
        }
    }
}

route_error!(MembershipError);

/// The fields of a membership event that decide whether an endpoint takes it, read before its signature is checked.
#[derive(Debug, Deserialize)]
pub(super) struct Claim {
    #[serde(rename = "type")]
    event_type: String,
    state_key: Option<String>,
    pub(super) sender: OwnedUserId,
    room_id: String,
    content: ClaimContent,
}

#[derive(Debug, Deserialize)]
struct ClaimContent {
    membership: Option<MembershipState>,
    join_authorised_via_users_server: Option<OwnedUserId>,
}

impl Claim {
    /// # Errors
    /// [`MembershipError::BadEvent`] where it is not an event by which a user of `origin` sets a membership in this room.
    pub(super) fn read(
        json: &RawValue,
        room_id: &RoomId,
        origin: &ServerName,
        membership: &MembershipState,
    ) -> Result<Self, MembershipError> {
        let bad = |why: String| MembershipError::BadEvent(why);
        let claim: Self = serde_json::from_str(json.get()).map_err(|error| bad(error.to_string()))?;
        if claim.event_type != "m.room.member" || claim.content.membership.as_ref() != Some(membership) {
            return Err(bad(format!("The event does not set the membership `{membership}`")));
        }
        if claim.room_id != room_id.as_str() {
            return Err(bad("The event is of another room".to_owned()));
        }
        if claim.sender.server_name() != origin {
            return Err(bad("The sender is not one of your server's users".to_owned()));
        }
        Ok(claim)
    }

    /// # Errors
    /// [`MembershipError::BadEvent`] where the event speaks of somebody else than its sender.
    pub(super) fn of_sender(self) -> Result<Self, MembershipError> {
        if self.state_key.as_deref() == Some(self.sender.as_str()) {
            return Ok(self);
        }
        Err(MembershipError::BadEvent("The event's state key is not its sender".to_owned()))
    }

    /// Whose membership it is.
    ///
    /// # Errors
    /// [`MembershipError::BadEvent`] where it is nobody's.
    pub(super) fn target(&self) -> Result<OwnedUserId, MembershipError> {
        let id = self.state_key.as_deref().and_then(|id| UserId::parse(id).ok());
        id.ok_or_else(|| MembershipError::BadEvent("The event's state key is not a user id".to_owned()))
    }

    /// Who is said to vouch for the join.
    pub(super) fn vouched_by(&self) -> Option<&UserId> {
        self.content.join_authorised_via_users_server.as_deref()
    }
}

impl Api {
    /// A room that users of this server are in and that lets the other server take part.
    pub(super) async fn room_with_us(
        &self,
        room_id: &RoomId,
        origin: &ServerName,
    ) -> Result<Arc<Room>, MembershipError> {
        let room = self.engine.room(room_id).await?;
        if room.info().local_members.is_empty() {
            return Err(MembershipError::NotHere);
        }
        if room.info().partial {
            return Err(MembershipError::Partial);
        }
        if !self.engine.acl_allows(&room, origin).await? {
            return Err(MembershipError::Barred);
        }
        Ok(room)
    }

    /// An event by which a user of another server could set their own membership now.
    pub(super) async fn membership_template(
        &self,
        room: &Arc<Room>,
        user_id: &UserId,
        content: &str,
    ) -> Result<Box<RawValue>, MembershipError> {
        let event = NewEvent {
            sender: user_id,
            // Nothing is stored: a name that somebody made up gets no number.
            sender_num: 0,
            event_type: TimelineEventType::RoomMember,
            state_key: Some(user_id.as_str()),
            content,
            redacts: None,
            origin_server_ts: None,
            device: None,
            txn_id: None,
        };
        Ok(self.engine.write(room).await?.template(&event).await?)
    }

    /// Takes a membership event that the other server signed: it is part of the room and on its way to all others when this
    /// returns.
    pub(super) async fn accept_membership(
        &self,
        room: &Arc<Room>,
        event_id: &EventId,
        event: ReceivedEvent,
    ) -> Result<(), MembershipError> {
        if event.pdu.event_id != event_id {
            return Err(MembershipError::BadEvent("The event has another id than the request's path".to_owned()));
        }
        let user_id = event.pdu.sender.clone();
        match self.engine.receive_and_relay(room, event).await? {
            Received::Stored { verdict: Verdict::Accepted, .. } => Ok(()),
            // A repetition; of what was superseded since nobody is told a second time.
            Received::Known(num)
                if self.engine.current(room.num, "m.room.member", user_id.as_str()).await? == Some(num) =>
            {
                Ok(())
            }
            Received::Stored { .. } | Received::Known(_) => {
                Err(MembershipError::Forbidden("The rules of the room do not allow this".to_owned()))
            }
            Received::Missing(_) => Err(MembershipError::BadEvent(
                "The event follows others that are not known here: begin anew".to_owned(),
            )),
        }
    }
}

/// Whether the other server supports a room's version.
pub(super) fn supports(versions: &[RoomVersionId], room: &Room) -> Result<(), MembershipError> {
    if versions.contains(&room.version) {
        return Ok(());
    }
    Err(MembershipError::IncompatibleVersion(room.version.clone()))
}

/// Whether a user is the other server's.
pub(super) fn is_theirs(user_id: &UserId, origin: &ServerName) -> Result<(), MembershipError> {
    if user_id.server_name() == origin { Ok(()) } else { Err(MembershipError::NotYours) }
}
