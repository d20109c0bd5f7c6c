//! `GET /_matrix/client/v3/pushers`: none can be set yet.

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::push::get_pushers::v3::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(_): State<App>, _: Ruma<Request>) -> Result<Response, ApiError> {
    Ok(Response::new(Vec::new()))
}
