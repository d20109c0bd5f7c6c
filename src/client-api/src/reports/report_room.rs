//! `POST /_matrix/client/v3/rooms/{roomId}/report`

use axum::extract::State;
use http_kit::{Group, Ruma};
use ruma::api::client::room::report_room::v3::{Request, Response};
use users::reports::Reported;

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    app.limits.check(Group::Reports, &requester)?;
    let Request { room_id, reason, .. } = body;
    // Also one of another server, to which the user was invited.
    if app.engine.place_outside(&room_id, requester.user).await?.is_none() {
        app.room(&room_id).await?;
    }
    app.report(&requester, Reported::Room { room_id }, &reason).await?;
    Ok(Response::new())
}
