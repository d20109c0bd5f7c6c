//! `GET /_matrix/client/v3/pushers`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::push::get_pushers::v3::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    Ok(Response::new(app.notify.list(request.requester.user).await?))
}
