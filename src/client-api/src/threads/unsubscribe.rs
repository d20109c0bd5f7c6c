//! `DELETE /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription`

use axum::extract::State;
use http_kit::{Group, Ruma};
use ruma::api::client::threads::unsubscribe_thread::unstable::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    app.limits.check(Group::Messages, &requester)?;
    let (room, _) = app.room_of_thread((&body.room_id, &body.thread_root), &requester).await?;
    app.users.threads.unsubscribe(requester.user, room, &body.thread_root).await?;
    Ok(Response::new())
}
