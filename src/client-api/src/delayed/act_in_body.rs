//! `POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}`, with the action in the body: from before each had a path.

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::delayed_events::update_delayed_event::unstable_v1::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    app.act_on_delayed(&request.body.delay_id, &request.body.action).await?;
    Ok(Response::new())
}
