//! The endpoints that other servers call.

use axum::Router;

use crate::Api;

/// What the endpoints share.
#[derive(Debug, Default)]
pub(crate) struct InboundState {}

pub(crate) fn router() -> Router<Api> {
    Router::new()
}
