//! `POST /_matrix/client/v3/rooms/{roomId}/ban`

use axum::extract::State;
use http_kit::{Group, Ruma};
use ruma::{
    api::client::membership::ban_user::v3::{Request, Response},
    events::room::member::MembershipState,
};

use super::change::{Change, Step};
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    requester.not_suspended()?;
    app.limits.check(Group::Messages, &requester)?;
    let room = app.known_room(&body.room_id).await?;
    let change = Change::new(&body.user_id, MembershipState::Ban, body.reason.as_deref());
    app.change_membership(&room, &requester, change, |_| Ok(Step::Send)).await?;
    Ok(Response::new())
}
