//! `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`

use std::time::Duration;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::typing::create_typing_event::v3::{Request, Response, Typing};

use crate::{ApiError, App, own::only_own};

/// The longest time that a client may claim to be typing in one go.
const LONGEST: Duration = Duration::from_secs(120);

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    only_own(&requester, &body.user_id)?;
    let (room, _) = app.room_joined_by(&body.room_id, &requester).await?;
    let timeout = match body.state {
        Typing::No => Duration::ZERO,
        Typing::Yes(info) => info.timeout.min(LONGEST),
    };
    let for_ms = u64::try_from(timeout.as_millis()).unwrap_or_default();
    if app.engine.typing.set(room.num, requester.user, for_ms) {
        app.wake_room(&room);
    }
    app.seen_active(requester.user).await?;
    Ok(Response::new())
}
