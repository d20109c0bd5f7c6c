//! Signing keys: ours published, those of others fetched and kept, and the notary.
//! [Retrieving server keys](https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys).

mod get_server_keys;
mod known;
mod notary;
mod own;
mod query_server_keys;
mod response;
mod ring;
mod strangers;
#[cfg(test)]
mod tests;

use axum::Router;

use crate::{Api, inbound::FedRouter as _};

pub use crate::keys::ring::{KeyRing, KeyStats, Keys};

pub(crate) fn router() -> Router<Api> {
    Router::new().fed(get_server_keys::handler).fed(query_server_keys::one).fed(query_server_keys::batch)
}
