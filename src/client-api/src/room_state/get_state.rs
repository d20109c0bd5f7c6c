//! `GET /_matrix/client/v3/rooms/{roomId}/state`

use axum::extract::State;
use engine::{EventNum, Rendering, splice::Format};
use http_kit::{RawJson, Ruma};
use ruma::api::client::state::get_state_events::v3::Request;

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let reader = app.reader(&body.room_id, &requester).await?;
    let nums: Vec<EventNum> = app.state_for(&reader).await?.into_iter().map(|(.., num)| num).collect();
    let events = app.engine.events(reader.room.num, &nums).await?;
    let mut out = String::from("[");
    let how = Rendering { format: Format::WithRoomId, device: None, bundle: None };
    app.engine.render(&mut out, &reader.room, &reader.viewer, &events, how).await?;
    out.push(']');
    Ok(RawJson(out.into()))
}
