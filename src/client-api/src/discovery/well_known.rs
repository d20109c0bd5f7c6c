//! `GET /.well-known/matrix/client`

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::api::client::discovery::discover_homeserver::{HomeserverInfo, Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, _: Ruma<Request>) -> Result<Response, ApiError> {
    match &app.config.public_base_url {
        Some(url) => Ok(Response::new(HomeserverInfo::new(url.clone()))),
        None => Err(MatrixError::not_found("This server has no public address set").into()),
    }
}
