//! What all changes of a membership have in common.

use std::sync::Arc;

use engine::{EngineError, NewEvent, Room};
use http::StatusCode;
use http_kit::{MatrixError, Requester};
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomId, RoomOrAliasId, UserId,
    events::{TimelineEventType, room::member::MembershipState},
};
use serde_json::{Map, Value};
use users::InviteAnswer;

use super::remote::{RemoteInvitation, RemoteMembership};
use crate::{ApiError, App, access::PATIENCE};

/// Longest reason, in bytes.
const MAX_REASON: usize = 4096;

/// A change of a user's membership.
#[derive(Debug)]
pub(super) struct Change<'a> {
    /// Whose.
    pub(super) target: &'a UserId,
    /// What it becomes.
    pub(super) membership: MembershipState,
    /// Why.
    pub(super) reason: Option<&'a str>,
    /// Who vouches for a join of a restricted room.
    pub(super) authorised_by: Option<OwnedUserId>,
    /// What else the client wants in the content.
    pub(super) extra: Map<String, Value>,
}

/// Fields of a membership that clients do not set this way.
const OURS: [&str; 7] = [
    "membership",
    "displayname",
    "avatar_url",
    "reason",
    "third_party_invite",
    "third_party_signed",
    "join_authorised_via_users_server",
];

impl<'a> Change<'a> {
    pub(super) fn new(target: &'a UserId, membership: MembershipState, reason: Option<&'a str>) -> Self {
        Self { target, membership, reason, authorised_by: None, extra: Map::new() }
    }

    /// With the fields of a request's body that are not the server's to fill in.
    pub(super) fn with_fields_of(mut self, body: &[u8]) -> Self {
        self.extra = serde_json::from_slice(body).unwrap_or_default();
        self.extra.retain(|field, _| !OURS.contains(&field.as_str()));
        self
    }
}

/// What to do, given what the membership is.
pub(super) enum Step {
    /// Send the event.
    Send,
    /// It is so already: the request succeeds without an event.
    Already,
}

/// The answer to who is not as the request supposes.
pub(super) fn refused(why: &'static str) -> ApiError {
    MatrixError::forbidden(why).into()
}

impl App {
    /// Changes a membership, if `step` says so of what it is at that moment.
    ///
    /// # Errors
    /// Those of `step`, and 403 `M_FORBIDDEN` where the rules of the room refuse the event.
    pub(super) async fn change_membership(
        &self,
        room: &Arc<Room>,
        requester: &Requester,
        change: Change<'_>,
        step: impl FnOnce(MembershipState) -> Result<Step, ApiError> + Send,
    ) -> Result<(), ApiError> {
        let content = self.membership_content(&change).await?;
        self.engine.knows_member(room, change.target.as_str(), PATIENCE).await?;
        let mut writer = self.engine.write(room).await?;
        if let Step::Already = step(writer.membership(change.target).await?)? {
            drop(writer);
            // What is already so may still wait for its sync: answer no earlier than that.
            self.engine.db.write().commit().await?;
            return Ok(());
        }
        let event = NewEvent {
            sender: &requester.user_id,
            sender_num: requester.user,
            event_type: TimelineEventType::RoomMember,
            state_key: Some(change.target.as_str()),
            content: &content,
            redacts: None,
            origin_server_ts: None,
            device: requester.device_id.as_deref().map(ruma::DeviceId::as_str),
            txn_id: None,
        };
        writer.append(event).await?;
        writer.commit().await?;
        // Tools join and leave for users who are not there: what their clients say of them is not overwritten.
        self.stopped_typing(room, requester.user);
        Ok(())
    }

    pub(super) async fn membership_content(&self, change: &Change<'_>) -> Result<String, ApiError> {
        let mut content = self.membership_fields(change).await?;
        content.insert("membership".to_owned(), change.membership.as_str().into());
        if let Some(user_id) = &change.authorised_by {
            content.insert("join_authorised_via_users_server".to_owned(), user_id.as_str().into());
        }
        Ok(Value::Object(content).to_string())
    }

    /// What a membership event says besides the membership and who vouches for it.
    async fn membership_fields(&self, change: &Change<'_>) -> Result<Map<String, Value>, ApiError> {
        let mut content = change.extra.clone();
        if matches!(change.membership, MembershipState::Join | MembershipState::Invite | MembershipState::Knock) {
            self.names_of(change.target).await?.add_to(&mut content);
        }
        if let Some(reason) = change.reason {
            if reason.len() > MAX_REASON {
                return Err(MatrixError::invalid_param("reason", format!("longer than {MAX_REASON} bytes")).into());
            }
            content.insert("reason".to_owned(), reason.into());
        }
        Ok(content)
    }

    /// A change of the requester's own membership that another server has to take part in.
    pub(super) async fn remote_membership(
        &self,
        room_id: &RoomId,
        via: &[OwnedServerName],
        change: &Change<'_>,
    ) -> Result<RemoteMembership, ApiError> {
        Ok(RemoteMembership {
            user_id: change.target.to_owned(),
            room_id: room_id.to_owned(),
            via: via.to_vec(),
            content: self.membership_fields(change).await?,
        })
    }

    /// The id of the room with an id or an alias, and servers to ask about it: those that the client names, and those that the
    /// alias's server does.
    ///
    /// # Errors
    /// 404 `M_NOT_FOUND`.
    pub(super) async fn resolve(
        &self,
        id: &RoomOrAliasId,
        mut via: Vec<OwnedServerName>,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), ApiError> {
        if let Ok(room_id) = <&RoomId>::try_from(id) {
            return Ok((room_id.to_owned(), via));
        }
        let alias = <&RoomAliasId>::try_from(id).map_err(|_| MatrixError::not_found("No room has this alias"))?;
        if alias.server_name() != self.engine.identity.server_name {
            let (room_id, servers) = self.remote.resolve(alias).await?;
            via.extend(servers);
            return Ok((room_id, via));
        }
        let row = self.local_alias(alias).await?;
        let row = row.ok_or_else(|| MatrixError::not_found("No room has this alias"))?;
        Ok((OwnedRoomId::try_from(row.room_id).map_err(MatrixError::internal)?, via))
    }

    /// A room whose newest state is known here: users of this server are in it, or those of no other are.
    pub(super) async fn room_here(&self, room_id: &RoomId) -> Result<Option<Arc<Room>>, ApiError> {
        let room = match self.engine.room(room_id).await {
            Err(EngineError::UnknownRoom) => return Ok(None),
            other => other?,
        };
        let here = !room.info().local_members.is_empty() || self.engine.servers(&room).await?.is_empty();
        Ok(here.then_some(room))
    }

    /// Invites a user of another server.
    pub(crate) async fn invite_elsewhere(
        &self,
        room: &Arc<Room>,
        requester: &Requester,
        invited: &UserId,
        content: String,
    ) -> Result<OwnedEventId, ApiError> {
        let invitation = RemoteInvitation {
            room: Arc::clone(room),
            sender: requester.user_id.clone(),
            invited: invited.to_owned(),
            content,
            device: requester.device_id.as_deref().map(ToString::to_string),
        };
        Ok(self.remote.invite(invitation).await?)
    }

    /// Whether a user can be invited by `sender`. Of users of other servers only those can tell.
    /// [Invite permission](https://spec.matrix.org/v1.19/client-server-api/#invite-permission).
    ///
    /// # Errors
    /// 403 `M_INVITE_BLOCKED`, and 404 `M_NOT_FOUND`.
    pub(crate) async fn may_be_invited(&self, user_id: &UserId, sender: &UserId) -> Result<(), ApiError> {
        if !self.engine.is_local(user_id) {
            return Ok(());
        }
        // Looked up, not given a number: names that somebody made up leave no trace.
        let Some(account) = self.local_account(user_id).await? else {
            return Err(MatrixError::not_found("There is no such user").into());
        };
        if self.users.invite_answer(account.num, sender).await? == InviteAnswer::Refuse {
            let why = "This user takes no invitations from you";
            return Err(MatrixError::new(StatusCode::FORBIDDEN, "M_INVITE_BLOCKED", why).into());
        }
        Ok(())
    }
}
