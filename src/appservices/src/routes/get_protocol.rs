//! `GET /_matrix/client/v3/thirdparty/protocol/{protocol}`

use axum::extract::State;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::api::client::thirdparty::get_protocol::v3::Request;

use super::RouteError;
use crate::services::Api;

pub(super) async fn handler(State(api): State<Api>, request: Ruma<Request>) -> Result<RawJson, RouteError> {
    let protocol = api.0.protocol(&request.body.protocol).await;
    let protocol = protocol.ok_or_else(|| MatrixError::not_found("Nothing here bridges to this protocol"))?;
    Ok(RawJson(protocol.to_string().into()))
}
