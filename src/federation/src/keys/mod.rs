//! Signing keys: ours published, those of others fetched and kept, and the notary.
//! [Retrieving server keys](https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys).

use std::sync::Arc;

use axum::Router;
use engine::Engine;
use ruma::{MilliSecondsSinceUnixEpoch, OwnedServerName, ServerName};
use store::{Clock, Db};

use crate::{Api, Client, FederationConfig};

/// Verify keys of other servers: asked for directly, then through notaries, and kept as rows.
#[derive(Debug)]
pub struct KeyRing {
    engine: Arc<Engine>,
}

/// Keys that were fetched for a check that must not wait.
#[derive(Debug, Clone, Default)]
pub struct Keys;

impl KeyRing {
    pub(crate) fn new(
        engine: Arc<Engine>,
        _db: Arc<Db>,
        _clock: Arc<dyn Clock>,
        _client: Arc<Client>,
        _config: &FederationConfig,
    ) -> Self {
        Self { engine }
    }

    /// The keys of these servers with these ids (`ed25519:…`), fetched where they are not known or known for too short a time. Those
    /// that cannot be had are left out.
    pub async fn fetch(
        &self,
        _wanted: &[(OwnedServerName, Vec<String>)],
        _valid_at: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Keys {
        let _ = &self.engine;
        Keys
    }
}

impl Keys {
    /// A key, where it was valid at a time: `None` asks for any that the server ever had.
    pub fn get(
        &self,
        _server: &ServerName,
        _key_id: &str,
        _valid_at: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Option<[u8; 32]> {
        None
    }
}

pub(crate) fn router() -> Router<Api> {
    Router::new()
}
