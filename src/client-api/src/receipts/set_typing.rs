//! `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`

use axum::extract::State;
use http_kit::{MatrixError, Ruma, WithJson};
use ruma::{
    RoomId, UserId,
    api::client::typing::create_typing_event::v3::{Request, Response},
};
use serde::Deserialize;

use crate::{ApiError, App, own::only_own};

/// How long a client is typing that does not say how long, and the longest that one may claim in one go; milliseconds.
const DEFAULT: u64 = 30_000;
const LONGEST: u64 = 120_000;

/// ruma insists on the timeout, which the specification does not.
#[derive(Deserialize)]
pub(super) struct Body {
    typing: bool,
    timeout: Option<u64>,
}

pub(super) async fn handler(
    State(app): State<App>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let [room_id, user_id] = body.path.as_slice() else { return Err(MatrixError::unrecognized("No such path").into()) };
    let room_id = <&RoomId>::try_from(room_id.as_str()).map_err(|error| MatrixError::invalid_param("roomId", error))?;
    let user_id = <&UserId>::try_from(user_id.as_str()).map_err(|error| MatrixError::invalid_param("userId", error))?;
    only_own(&requester, user_id)?;
    let (room, _) = app.room_joined_by(room_id, &requester).await?;
    let for_ms = if body.json.typing { body.json.timeout.unwrap_or(DEFAULT).min(LONGEST) } else { 0 };
    if app.engine.typing.set(room.num, requester.user, for_ms) {
        app.wake_room(&room);
    }
    app.seen_active(requester.user).await?;
    Ok(Response::new())
}
