//! `POST /_matrix/client/v3/rooms/{roomId}/read_markers`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::read_marker::set_read_marker::v3::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (room, _) = app.room_joined_by(&body.room_id, &requester).await?;
    let all = [&body.fully_read, &body.read_receipt, &body.private_read_receipt];
    for event_id in all.into_iter().flatten() {
        // All of them before any is set: half of a request is worse than none.
        app.engine.find_event(room.num, event_id.as_str()).await?.ok_or_else(ApiError::no_event)?;
    }
    if let Some(event_id) = &body.fully_read {
        app.fully_read(&room, &requester, event_id.as_str()).await?;
    }
    if let Some(event_id) = &body.read_receipt {
        app.receipt(&room, &requester, "m.read", "", event_id.as_str()).await?;
    }
    if let Some(event_id) = &body.private_read_receipt {
        app.receipt(&room, &requester, "m.read.private", "", event_id.as_str()).await?;
    }
    app.seen_active(requester.user).await?;
    Ok(Response::new())
}
