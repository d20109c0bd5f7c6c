//! Everything between this server and others: signing keys and trust, finding and reaching servers, the Server-Server API on
//! both sides, and the outbox. [Server-Server API](https://spec.matrix.org/v1.19/server-server-api/).
//!
//! | module | what it does |
//! | --- | --- |
//! | [`transport`] | the seam to the network: one request to one server |
//! | [`net`] | servers found and reached for real: discovery, TLS, HTTP |
//! | [`client`] | signed requests to other servers |
//! | [`keys`] | our signing keys, those of others, and the notary |
//! | `edus` | what others tell that is not kept: typing, receipts, presence |
//! | [`pdus`] | events of others: checked, completed, handed to the engine |
//! | [`inbound`] | the endpoints that others call |
//! | [`outbox`] | what is on its way to others, as rows |
//! | [`remote`] | rooms, profiles and directories that live elsewhere |
//!
//! No lock of the engine is held across a request to another server, and every walk through what another server says is bounded.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod backoff;
pub mod client;
mod config;
mod edus;
mod error;
pub mod inbound;
pub mod keys;
mod made;
pub mod net;
pub mod outbox;
pub mod pdus;
pub mod remote;
mod shown;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transport;

use std::sync::{Arc, OnceLock};

use axum::Router;
use engine::Engine;
use http_kit::RateLimits;
use parking_lot::Mutex;
use rand::Rng;
use ruma::ServerName;
use store::{Clock, Db};
use users::Users;

pub use crate::{
    client::Client,
    config::{FederationConfig, OldKey},
    error::CallError,
    inbound::{OwnMedia, Picture},
    keys::{KeyRing, KeyStats},
    made::MadeOnDemand,
    net::{NetError, NetTransport, Web, WebReply},
    outbox::{Outbox, OutboxStats},
    transport::{Call, CallLimits, Disabled, Reply, Streamed, Transport, TransportError},
};

/// What federation is made of.
pub struct FederationParts {
    /// Rooms.
    pub engine: Arc<Engine>,
    /// Local users.
    pub users: Arc<Users>,
    /// The database.
    pub db: Arc<Db>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for transaction ids and jitter.
    pub rng: Box<dyn Rng + Send>,
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// The operator's choices.
    pub config: FederationConfig,
}

/// Federation as it runs.
pub struct Federation {
    /// Rooms.
    pub engine: Arc<Engine>,
    /// Local users.
    pub users: Arc<Users>,
    /// The database.
    pub db: Arc<Db>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The operator's choices.
    pub config: FederationConfig,
    /// Signed requests to other servers.
    pub client: Arc<Client>,
    /// Signing keys of others.
    pub keys: Arc<KeyRing>,
    /// What is on its way to others.
    pub outbox: Arc<Outbox>,
    /// Who makes users and aliases when they are asked for. Set once; without it nobody does.
    pub made: OnceLock<Arc<dyn MadeOnDemand>>,
    /// This server's files. Set once; without it there are none.
    pub own_media: OnceLock<Arc<dyn OwnMedia>>,
    /// What another server may do in a time. Set once; without it there are no limits.
    pub limits: OnceLock<Arc<RateLimits>>,
    pub(crate) inbound: inbound::InboundState,
    pub(crate) pdus: pdus::PduState,
    pub(crate) remote: remote::RemoteState,
    pub(crate) late: remote::LateLedgers,
    pub(crate) fills: remote::Fills,
    pub(crate) rng: Mutex<Box<dyn Rng + Send>>,
}

impl std::fmt::Debug for Federation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Federation").field("server", &self.server_name()).finish_non_exhaustive()
    }
}

impl Federation {
    /// Puts the parts together.
    pub fn new(parts: FederationParts) -> Arc<Self> {
        let FederationParts { engine, users, db, clock, mut rng, transport, config } = parts;
        let client = Arc::new(Client::new(Arc::clone(&engine), transport, Arc::clone(&clock)));
        engine.ask_policies(Arc::new(remote::Policies::new(&client)));
        let keys = Arc::new(KeyRing::new(
            Arc::clone(&engine),
            Arc::clone(&db),
            Arc::clone(&clock),
            Arc::clone(&client),
            &config,
        ));
        let outbox = Arc::new(Outbox::new(outbox::OutboxParts {
            engine: Arc::clone(&engine),
            users: Arc::clone(&users),
            db: Arc::clone(&db),
            clock: Arc::clone(&clock),
            client: Arc::clone(&client),
            config: &config,
            seed: rng.next_u64(),
        }));
        Arc::new(Self {
            engine,
            users,
            db,
            clock,
            client,
            keys,
            outbox,
            made: OnceLock::new(),
            own_media: OnceLock::new(),
            limits: OnceLock::new(),
            inbound: inbound::InboundState::default(),
            pdus: pdus::PduState::default(),
            remote: remote::RemoteState::default(),
            late: remote::LateLedgers::default(),
            fills: remote::Fills::default(),
            rng: Mutex::new(rng),
            config,
        })
    }

    /// This server's name.
    pub fn server_name(&self) -> &ServerName {
        &self.engine.identity.server_name
    }
}

/// Federation as the handlers' state.
#[derive(Debug, Clone)]
pub struct Api(pub Arc<Federation>);

impl std::ops::Deref for Api {
    type Target = Federation;

    fn deref(&self) -> &Federation {
        &self.0
    }
}

/// The endpoints that other servers call.
pub fn router() -> Router<Api> {
    Router::new().merge(keys::router()).merge(inbound::router())
}
