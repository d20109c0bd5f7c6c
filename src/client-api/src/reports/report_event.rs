//! `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}`

use axum::extract::State;
use http_kit::{Group, Ruma};
use ruma::{
    OwnedUserId,
    api::client::room::report_content::v3::{Request, Response},
};
use users::reports::Reported;

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    app.limits.check(Group::Reports, &requester)?;
    let Request { room_id, event_id, reason, .. } = body;
    let (room, viewer) = app.room_joined_by(&room_id, &requester).await.map_err(ApiError::hidden)?;
    let (_, row) = app.engine.visible_event(&room, &viewer, event_id.as_str()).await?;
    let sender = OwnedUserId::try_from(row.sender()).map_err(|_| ApiError::no_event())?;
    let reported = Reported::Event { room_id, event_id, sender };
    app.report(&requester, reported, reason.as_deref().unwrap_or_default()).await?;
    Ok(Response::new())
}
