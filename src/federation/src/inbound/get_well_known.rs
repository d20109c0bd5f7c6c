//! `GET /.well-known/matrix/server` ([spec](https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver)).

use axum::extract::State;
use http_kit::{MatrixError, RawJson, route_error};
use ruma::api::federation::discovery::discover_homeserver::Request;
use serde_json::json;

use crate::{Api, inbound::Open};

pub(super) async fn handler(State(api): State<Api>, _request: Open<Request>) -> Result<RawJson, RouteError> {
    let server = api.config.well_known_server.as_ref().ok_or(RouteError::NotServed)?;
    Ok(RawJson(json!({ "m.server": server }).to_string().into()))
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("This server is reached by its own name")]
    NotServed,
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NotServed => Self::not_found(error.to_string()),
        }
    }
}
route_error!(RouteError);
