//! `POST /_matrix/client/v3/rooms/{roomId}/invite`

use axum::extract::State;
use http::StatusCode;
use http_kit::{MatrixError, Ruma};
use ruma::{
    api::client::membership::invite_user::v3::{InvitationRecipient, Request, Response},
    events::room::member::MembershipState,
};

use super::change::{Change, Step, refused};
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let InvitationRecipient::UserId(invited) = &body.recipient else {
        let why = "This server cannot invite people by e-mail address or phone number: invite them by their user id";
        return Err(MatrixError::new(StatusCode::FORBIDDEN, "M_THREEPID_DENIED", why).into());
    };
    let room = app.known_room(&body.room_id).await?;
    let place = app.engine.user_rooms().get(requester.user, room.num).await?;
    if place.is_none_or(|place| place.membership != engine::Membership::Join) {
        return Err(ApiError::not_in_room());
    }
    app.may_be_invited(&invited.user_id).await?;
    let change = Change::new(&invited.user_id, MembershipState::Invite, invited.reason.as_deref());
    let step = |membership| match membership {
        MembershipState::Join => Err(refused("This user is in the room already")),
        MembershipState::Ban => Err(refused("This user is banned from the room")),
        _ => Ok(Step::Send),
    };
    app.change_membership(&room, &requester, change, step).await?;
    Ok(Response::new())
}
