//! `PUT /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription`

use axum::extract::State;
use http::StatusCode;
use http_kit::{Group, MatrixError, Ruma};
use ruma::api::client::threads::subscribe_thread::unstable::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    app.limits.check(Group::Messages, &requester)?;
    let root = &body.thread_root;
    let (room, reader) = app.room_of_thread((&body.room_id, root), &requester).await?;
    let cause = match &body.automatic {
        Some(cause) => {
            let seen = app.engine.visible_event(&reader.room, &reader.viewer, cause.as_str()).await;
            let (_, row) = seen.map_err(|_| not_in_thread())?;
            if app.thread_of(reader.room.num, &row).await?.as_ref() != Some(root) {
                return Err(not_in_thread().into());
            }
            Some(row.pos())
        }
        None => None,
    };
    // First, so that who follows a thread is notified of it.
    app.users.push_rules.follow_threads(requester.user).await?;
    app.users.threads.subscribe(requester.user, room, root, cause).await?;
    Ok(Response::new())
}

fn not_in_thread() -> MatrixError {
    let why = "The event that is given as the reason is not in this thread";
    MatrixError::new(StatusCode::BAD_REQUEST, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", why)
}
