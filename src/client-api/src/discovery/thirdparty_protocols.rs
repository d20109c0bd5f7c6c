//! `GET /_matrix/client/v3/thirdparty/protocols`: no bridges, no protocols.

use std::collections::BTreeMap;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::thirdparty::get_protocols::v3::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(_): State<App>, _: Ruma<Request>) -> Result<Response, ApiError> {
    Ok(Response::new(BTreeMap::new()))
}
