//! `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`

use axum::extract::State;
use http_kit::{RawJson, Ruma};
use ruma::api::client::room::get_room_event::v3::Request;

use super::pages::rendering;
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    // Strangers are told neither which rooms exist nor which events do.
    let reader = app.reader(&body.room_id, &requester).await.map_err(ApiError::hidden)?;
    let event = app.engine.visible_event(&reader.room, &reader.viewer, body.event_id.as_str()).await?;
    let mut out = String::new();
    app.engine
        .render(&mut out, &reader.room, &reader.viewer, &[event], rendering(&requester, Some(&reader.ignored)))
        .await?;
    Ok(RawJson(out.into()))
}
