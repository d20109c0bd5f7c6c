//! `GET /_matrix/key/v2/server` ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server)).

use axum::extract::State;
use http_kit::{MatrixError, route_error};
use ruma::api::federation::discovery::get_server_keys::v2::{Request, Response};

use crate::{Api, inbound::Open};

pub(super) async fn handler(State(api): State<Api>, _request: Open<Request>) -> Result<Response, RouteError> {
    Ok(Response::new(api.keys.own_answer()?))
}

#[derive(Debug, thiserror::Error)]
#[error("our keys could not be signed: {0}")]
pub(super) struct RouteError(#[from] serde_json::Error);

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        Self::internal(error)
    }
}
route_error!(RouteError);
