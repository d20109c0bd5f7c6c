//! `GET /_matrix/client/v1/auth_metadata`

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http_kit::{EndpointOptions, MatrixError, RawJson, Ruma, bounded};
use ruma::api::client::discovery::get_authorization_server_metadata::v1::Request;

use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, _request: Ruma<Request>) -> Result<RawJson, RouteError> {
    Ok(metadata(&auth)?)
}

/// The same where other software than Matrix clients looks for it.
pub(super) async fn well_known(State(auth): State<Arc<Auth>>) -> Response {
    let answer = async { metadata(&auth).map_or_else(MatrixError::into_response, RawJson::into_response) };
    bounded(answer, EndpointOptions::default()).await
}

fn metadata(auth: &Auth) -> Result<RawJson, MatrixError> {
    let metadata = auth.server_metadata();
    let metadata = metadata.ok_or_else(|| MatrixError::unrecognized("This server has no OAuth 2.0 API"))?;
    Ok(RawJson(metadata.to_string().into()))
}
