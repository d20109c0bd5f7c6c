//! `GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}`

use axum::extract::State;
use http_kit::{Group, RawJson, Ruma};
use ruma::api::client::delayed_events::get_delayed_event::unstable::Request;
use users::UsersError;

use super::describe;
use crate::{ApiError, App};

/// Also one that was sent or cancelled, for a while.
pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let (id, requester) = (&request.body.delay_id, &request.requester);
    app.limits.check(Group::Delayed, requester)?;
    let event = app.users.delayed.get(id).await?.filter(|event| event.user == requester.user);
    let event = event.ok_or(UsersError::DelayedNotFound)?;
    Ok(RawJson(describe(id, &event).to_string().into()))
}
