//! The endpoints, one a file.

mod get_protocol;
mod get_protocols;
mod lookups;
mod ping;
mod publish;

use axum::Router;
use http_kit::{MatrixError, RumaRouter as _, route_error};

use crate::services::Api;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct RouteError(#[from] MatrixError);

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        error.0
    }
}
route_error!(RouteError);

/// All endpoints of this crate.
pub fn router() -> Router<Api> {
    Router::new()
        .ruma(ping::handler)
        .ruma(publish::handler)
        .ruma(get_protocols::handler)
        .ruma(get_protocol::handler)
        .ruma(lookups::locations)
        .ruma(lookups::locations_of_alias)
        .ruma(lookups::users)
        .ruma(lookups::users_of_user)
}
