//! `POST /_matrix/client/v3/rooms/{roomId}/unban`

use axum::extract::State;
use http_kit::{Group, Ruma};
use ruma::{
    api::client::membership::unban_user::v3::{Request, Response},
    events::room::member::MembershipState,
};

use super::change::{Change, Step, refused};
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    requester.not_suspended()?;
    app.limits.check(Group::Messages, &requester)?;
    let room = app.known_room(&body.room_id).await?;
    let change = Change::new(&body.user_id, MembershipState::Leave, body.reason.as_deref());
    let step = |membership| match membership {
        MembershipState::Ban => Ok(Step::Send),
        _ => Err(refused("This user is not banned")),
    };
    app.change_membership(&room, &requester, change, step).await?;
    Ok(Response::new())
}
