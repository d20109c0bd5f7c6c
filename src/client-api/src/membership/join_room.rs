//! `POST /_matrix/client/v3/rooms/{roomId}/join` and `POST /_matrix/client/v3/join/{roomIdOrAlias}`

use std::sync::Arc;

use axum::extract::State;
use engine::Room;
use http::StatusCode;
use http_kit::{Group, MatrixError, Requester, Ruma};
use ruma::{
    OwnedServerName, RoomId,
    api::client::membership::{ThirdPartySigned, join_room_by_id, join_room_by_id_or_alias},
    events::room::member::MembershipState,
};

use super::{
    authorise_join::JoinHere,
    change::{Change, Step},
    remote::RemoteJoined,
};
use crate::{ApiError, App};

pub(super) async fn by_id(
    State(app): State<App>,
    request: Ruma<join_room_by_id::v3::Request>,
) -> Result<join_room_by_id::v3::Response, ApiError> {
    let Ruma { body, requester, json_body, .. } = request;
    refuse_third_party(body.third_party_signed.as_ref())?;
    let change = Change::new(&requester.user_id, MembershipState::Join, body.reason.as_deref());
    app.join(&body.room_id, &[], &requester, change.with_fields_of(&json_body)).await?;
    Ok(join_room_by_id::v3::Response::new(body.room_id))
}

pub(super) async fn by_id_or_alias(
    State(app): State<App>,
    request: Ruma<join_room_by_id_or_alias::v3::Request>,
) -> Result<join_room_by_id_or_alias::v3::Response, ApiError> {
    let Ruma { body, requester, json_body, .. } = request;
    refuse_third_party(body.third_party_signed.as_ref())?;
    let (room_id, via) = app.resolve(&body.room_id_or_alias, body.via).await?;
    let change = Change::new(&requester.user_id, MembershipState::Join, body.reason.as_deref());
    app.join(&room_id, &via, &requester, change.with_fields_of(&json_body)).await?;
    Ok(join_room_by_id_or_alias::v3::Response::new(room_id))
}

fn refuse_third_party(signed: Option<&ThirdPartySigned>) -> Result<(), ApiError> {
    if signed.is_none() {
        return Ok(());
    }
    let why = "This server takes no invitations by e-mail address or phone number";
    Err(MatrixError::new(StatusCode::FORBIDDEN, "M_THREEPID_DENIED", why).into())
}

impl App {
    async fn join(
        &self,
        room_id: &RoomId,
        via: &[OwnedServerName],
        requester: &Requester,
        mut change: Change<'_>,
    ) -> Result<(), ApiError> {
        requester.not_suspended()?;
        self.limits.check(Group::Joins, requester)?;
        let mut here = self.room_here(room_id).await?;
        let mut asked = false;
        loop {
            let unable = match &here {
                Some(room) => match self.authorise_join(room, requester).await? {
                    JoinHere::Yes(voucher) => {
                        change.authorised_by = voucher;
                        return self.join_here(room, requester, change).await;
                    }
                    JoinHere::Elsewhere(error) => Some(error),
                },
                None => None,
            };
            let join = self.remote_membership(room_id, via, &change).await?;
            let joined = self.remote.join(join, here.is_some() || asked).await;
            match (joined, unable) {
                (Ok(RemoteJoined::Entered(room)), _) => {
                    self.carry_over(&room, requester).await;
                    self.users.device_lists.announce(requester.user, room.num).await?;
                    return Ok(());
                }
                (Ok(RemoteJoined::Here(room)), _) => (here, asked) = (Some(room), true),
                // What this server knows of the room tells more than that nobody else could be asked.
                (Err(error), Some(unable)) if error.status == StatusCode::NOT_FOUND => return Err(unable),
                (Err(error), _) => return Err(error.into()),
            }
        }
    }

    async fn join_here(&self, room: &Arc<Room>, requester: &Requester, change: Change<'_>) -> Result<(), ApiError> {
        let step = |membership| Ok(if membership == MembershipState::Join { Step::Already } else { Step::Send });
        self.change_membership(room, requester, change, step).await?;
        self.carry_over(room, requester).await;
        if !room.info().servers.is_empty() {
            self.users.device_lists.announce(requester.user, room.num).await?;
        }
        Ok(())
    }
}
