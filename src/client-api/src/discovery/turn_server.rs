//! `GET /_matrix/client/v3/voip/turnServer`: none can be configured, which clients learn from an answer without fields.

use axum::extract::State;
use bytes::Bytes;
use http_kit::{RawJson, Ruma};
use ruma::api::client::voip::get_turn_server_info::v3::Request;

use crate::{ApiError, App};

pub(super) async fn handler(State(_): State<App>, _: Ruma<Request>) -> Result<RawJson, ApiError> {
    Ok(RawJson(Bytes::from_static(b"{}")))
}
