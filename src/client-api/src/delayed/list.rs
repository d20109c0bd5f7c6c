//! `GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events`

use axum::extract::State;
use http_kit::{Group, RawJson, Ruma};
use ruma::api::client::delayed_events::get_all_delayed_events::unstable::Request;
use serde_json::{Value, json};

use super::describe;
use crate::{ApiError, App};

/// Those that wait, the next one first: as many as there can be.
pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let requester = &request.requester;
    app.limits.check(Group::Delayed, requester)?;
    let waiting = app.users.delayed.waiting(requester.user, app.config.delayed_events.max_per_user).await?;
    let events: Vec<Value> = waiting.iter().map(|(id, event)| describe(id, event)).collect();
    Ok(RawJson(json!({"delayed_events": events}).to_string().into()))
}
