//! `GET /_matrix/client/v3/thirdparty/protocols`

use axum::extract::State;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::api::client::thirdparty::get_protocols::v3::Request;

use super::RouteError;
use crate::services::Api;

pub(super) async fn handler(State(api): State<Api>, _: Ruma<Request>) -> Result<RawJson, RouteError> {
    let protocols = serde_json::to_vec(&api.0.protocols().await).map_err(MatrixError::internal)?;
    Ok(RawJson(protocols.into()))
}
