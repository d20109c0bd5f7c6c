//! `PUT /_matrix/client/unstable/org.matrix.msc4140/rooms/{roomId}/delayed_event/{eventType}/{txnId}`

use axum::extract::State;
use http_kit::{MatrixError, RawJson, Ruma, WithJson};
use ruma::{OwnedRoomId, api::client::delayed_events::send_delayed_event::unstable::Request};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Later;
use crate::{ApiError, App};

/// The body. What ruma reads has the delay under its older name alone.
#[derive(Deserialize)]
pub(super) struct Body {
    #[serde(alias = "delay")]
    delay_ms: u64,
    state_key: Option<String>,
    content: Box<RawValue>,
}

pub(super) async fn handler(
    State(app): State<App>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<RawJson, ApiError> {
    let [room_id, event_type, _] = request.body.path.as_slice() else {
        return Err(MatrixError::unrecognized("There is no such endpoint").into());
    };
    let room_id =
        OwnedRoomId::try_from(room_id.as_str()).map_err(|error| MatrixError::invalid_param("roomId", error))?;
    let Body { delay_ms, state_key, content } = &request.body.json;
    let later = Later {
        room_id: &room_id,
        event_type: event_type.clone(),
        state_key: state_key.clone(),
        content,
        delay_ms: *delay_ms,
        ts: request.query("ts").and_then(|ts| ts.parse().ok()),
        path: Some(request.uri.path()),
        too_long: "ORG.MATRIX.MSC4140_MAX_DELAY_EXCEEDED",
    };
    app.send_later(&request.requester, later).await
}
