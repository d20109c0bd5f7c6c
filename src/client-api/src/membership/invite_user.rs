//! `POST /_matrix/client/v3/rooms/{roomId}/invite`

use std::sync::Arc;

use axum::extract::State;
use engine::Room;
use http::StatusCode;
use http_kit::{Group, MatrixError, Requester, Ruma};
use ruma::{
    UserId,
    api::client::membership::invite_user::v3::{InvitationRecipient, Request, Response},
    events::room::member::MembershipState,
};

use super::change::{Change, Step, refused};
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    requester.not_suspended()?;
    app.limits.check(Group::Invites, &requester)?;
    let InvitationRecipient::UserId(invited) = &body.recipient else {
        let why = "This server cannot invite people by e-mail address or phone number: invite them by their user id";
        return Err(MatrixError::new(StatusCode::FORBIDDEN, "M_THREEPID_DENIED", why).into());
    };
    let room = app.known_room(&body.room_id).await?;
    let place = app.engine.user_rooms().get(requester.user, room.num).await?;
    if place.is_none_or(|place| place.membership != engine::Membership::Join) {
        return Err(ApiError::not_in_room());
    }
    app.may_be_invited(&invited.user_id, &requester.user_id).await?;
    if !app.engine.is_local(&invited.user_id) {
        invite_elsewhere(&app, &room, &requester, &invited.user_id, invited.reason.as_deref()).await?;
        return Ok(Response::new());
    }
    let change = Change::new(&invited.user_id, MembershipState::Invite, invited.reason.as_deref());
    app.change_membership(&room, &requester, change, |membership| may_invite(&membership)).await?;
    Ok(Response::new())
}

fn may_invite(membership: &MembershipState) -> Result<Step, ApiError> {
    match membership {
        MembershipState::Join => Err(refused("This user is in the room already")),
        MembershipState::Ban => Err(refused("This user is banned from the room")),
        _ => Ok(Step::Send),
    }
}

async fn invite_elsewhere(
    app: &App,
    room: &Arc<Room>,
    requester: &Requester,
    user_id: &UserId,
    reason: Option<&str>,
) -> Result<(), ApiError> {
    let membership = app.engine.membership(room.num, user_id.as_str()).await?;
    may_invite(&membership.map_or(MembershipState::Leave, |membership| membership.to_state()))?;
    let content = app.membership_content(&Change::new(user_id, MembershipState::Invite, reason)).await?;
    app.invite_elsewhere(room, requester, user_id, content).await?;
    Ok(())
}
