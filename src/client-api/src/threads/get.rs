//! `GET /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription`

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::api::client::threads::get_thread_subscription::unstable::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (room, _) = app.room_of_thread((&body.room_id, &body.thread_root), &requester).await?;
    let row = app.users.threads.get(requester.user, room, &body.thread_root).await?;
    let automatic = row.and_then(|row| row.subscribed);
    let automatic = automatic.ok_or_else(|| MatrixError::not_found("You have not subscribed to this thread"))?;
    Ok(Response::new(automatic))
}
