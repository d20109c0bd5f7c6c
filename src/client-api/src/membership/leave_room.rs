//! `POST /_matrix/client/v3/rooms/{roomId}/leave`: leaves a room, refuses an invitation, or takes back a knock.

use axum::extract::State;
use engine::Membership;
use http_kit::Ruma;
use ruma::{
    api::client::membership::leave_room::v3::{Request, Response},
    events::room::member::MembershipState,
};

use super::change::{Change, Step, refused};
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    if let Some((_, place)) = app.engine.place_outside(&body.room_id, requester.user).await? {
        if matches!(place.membership, Membership::Invite | Membership::Knock) {
            let change = Change::new(&requester.user_id, MembershipState::Leave, body.reason.as_deref());
            let leave = app.remote_membership(&body.room_id, &[], &change).await?;
            app.remote.leave(leave).await?;
        }
        return Ok(Response::new());
    }
    let (room, viewer) = app.room_of(&body.room_id, &requester).await?;
    let was_there = viewer.place.is_some();
    let change = Change::new(&requester.user_id, MembershipState::Leave, body.reason.as_deref());
    let step = |membership| match membership {
        MembershipState::Leave if was_there => Ok(Step::Already),
        MembershipState::Leave => Err(ApiError::not_in_room()),
        MembershipState::Ban => Err(refused("You are banned from this room")),
        _ => Ok(Step::Send),
    };
    app.change_membership(&room, &requester, change, step).await?;
    Ok(Response::new())
}
