//! Refusing invitations to rooms of other servers, and taking back knocks on them.
//! [Leaving rooms](https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites).

use std::sync::Arc;

use engine::EngineError;
use ruma::{
    OwnedRoomId, OwnedServerName, OwnedUserId, RoomVersionId, ServerName,
    api::federation::membership::prepare_leave_event::v1, events::room::member::MembershipState,
};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{RemoteError, SMALL, called, received, rules_of, template::Wanted, unrecognized};
use crate::{CallError, Federation};

/// Servers that are asked, at most: who leaves does not wait for long.
const SERVERS: usize = 3;

/// A membership of a user of ours in a room in which nobody of this server is.
#[derive(Debug, Clone)]
pub struct RemoteChange {
    /// Whose it is.
    pub user_id: OwnedUserId,
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that may be in the room.
    pub via: Vec<OwnedServerName>,
    /// The content of the membership event, without the membership itself.
    pub content: Map<String, Value>,
}

impl Federation {
    /// Refuses an invitation to a room in which nobody of this server is, or takes back a knock. Where no other server takes it, the user
    /// is rid of it all the same.
    ///
    /// # Errors
    /// [`EngineError::Forbidden`] where there is no such invitation or knock; those of the store.
    pub async fn leave(self: &Arc<Self>, leave: RemoteChange) -> Result<(), RemoteError> {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.leave_now(&leave).await }).await.map_err(|_| RemoteError::Stopping)?
    }

    async fn leave_now(&self, leave: &RemoteChange) -> Result<(), RemoteError> {
        let not_there = || EngineError::Forbidden("You are not in this room".to_owned());
        let Some(version) = self.version_outside(&leave.room_id, &leave.user_id).await? else {
            return Err(not_there().into());
        };
        let servers = self.candidates(&leave.room_id, &leave.user_id, &leave.via).await?;
        for server in servers.into_iter().take(SERVERS) {
            match self.leave_through(&server, leave, &version).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(%error, %server, room_id = %leave.room_id, "a leave was not taken"),
            }
        }
        match self.engine.withdraw_outside(&leave.room_id, &leave.user_id).await? {
            true => Ok(()),
            false => Err(not_there().into()),
        }
    }

    async fn leave_through(
        &self,
        server: &ServerName,
        leave: &RemoteChange,
        version: &RoomVersionId,
    ) -> Result<(), RemoteError> {
        let request = v1::Request::new(leave.room_id.clone(), leave.user_id.clone());
        let made = self.client.send(server, request, SMALL).await.map_err(called(server))?;
        let (given, rules) = rules_of(made.room_version)?;
        // An invitation by the first version of the endpoint does not say which of the first two versions it is.
        let alike = |version| rules_of(Some(version)).is_ok_and(|(_, rules)| rules.event_format.require_event_id);
        if given != *version && !(alike(given) && alike(version.clone())) {
            return Err(RemoteError::bad(server, "the room is of another version"));
        }
        let wanted = Wanted {
            room_id: &leave.room_id,
            user_id: &leave.user_id,
            membership: MembershipState::Leave,
            content: &leave.content,
        };
        let event = self.sign_template(server, &made.event, &rules, &wanted)?;
        let sent: Result<IgnoredAny, CallError> = self.send_membership(server, "v2/send_leave", &event).await;
        match sent {
            Err(error) if unrecognized(&error) => {
                let sent: Result<IgnoredAny, CallError> = self.send_membership(server, "v1/send_leave", &event).await;
                sent.map_err(called(server))?;
            }
            other => {
                other.map_err(called(server))?;
            }
        }
        // Where the place changed meanwhile, what it is now stays.
        self.engine.receive_membership_outside(received(event)).await?;
        Ok(())
    }

    /// The version of a room that a user was invited to or knocked on from outside.
    async fn version_outside(
        &self,
        room_id: &ruma::RoomId,
        user_id: &ruma::UserId,
    ) -> Result<Option<RoomVersionId>, RemoteError> {
        let user = self.engine.user_num(user_id).await?;
        let Some((num, _)) = self.engine.place_outside(room_id, user).await? else { return Ok(None) };
        Ok(self.engine.outside(user, num).await?.map(|row| row.version))
    }
}
