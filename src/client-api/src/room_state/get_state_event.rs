//! `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`

use axum::extract::State;
use engine::{Rendering, splice::Format};
use http_kit::{RawJson, Ruma};
use ruma::api::client::state::get_state_event_for_key::v3::{Request, StateEventFormat};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let reader = app.reader(&body.room_id, &requester).await?;
    let event = app.state_entry_for(&reader, &body.event_type.to_string(), &body.state_key).await?;
    if body.format != StateEventFormat::Event {
        return Ok(RawJson(event.1.content().to_owned().into()));
    }
    let mut out = String::new();
    let how = Rendering { format: Format::WithRoomId, device: None, bundle: None };
    app.engine.render(&mut out, &reader.room, &reader.viewer, &[event], how).await?;
    Ok(RawJson(out.into()))
}
