//! `GET /_matrix/client/unstable/org.matrix.msc4143/rtc/transports`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::rtc::transports::v1::{Request, Response};

use crate::{ApiError, App};

/// Where there is none, clients learn it from the empty list.
pub(super) async fn handler(State(app): State<App>, _: Ruma<Request>) -> Result<Response, ApiError> {
    Ok(Response::new(app.config.rtc.transports.clone()))
}
