//! The endpoints that other servers call.

mod get_server_version;
pub mod ledger;
mod route;
mod signed;
mod x_matrix;

use axum::Router;

pub use crate::inbound::{
    route::{FedHandler, FedRequest, FedRouter},
    signed::{Open, Signed},
};

use crate::Api;

/// What the endpoints share.
#[derive(Debug, Default)]
pub(crate) struct InboundState {}

pub(crate) fn router() -> Router<Api> {
    Router::new()
        // Ledgers
        .fed(ledger::handler)
        // Server
        .fed(get_server_version::handler)
}
