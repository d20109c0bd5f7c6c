//! Several whole servers in one process, for tests and simulations: each with a memory store, an engine, users and federation; calls
//! between them go through each other's routers, over links that a test cuts, delays and repeats.
//!
//! Needs a tokio runtime; with its time paused nothing depends on how fast the machine is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod clock;
mod mesh;
mod rooms;
mod server;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use engine::{NoProjector, Projector};
use ruma::{OwnedServerName, ServerName};
use store::{MemoryStore, Store};

pub use self::{
    clock::WorldClock,
    mesh::{Fate, Judge, Meddler, Mesh, MeshTransport, Watch},
    rooms::{Event, State},
    server::{Life, TestServer},
};

/// What stands between a server and what it keeps, made anew at each start.
pub type Disk = Arc<dyn Fn(&Arc<MemoryStore>) -> Arc<dyn Store> + Send + Sync>;

/// How the servers of a [`World`] are made.
#[derive(Clone)]
pub struct WorldOptions {
    /// What adds rows to the commits of a server's events.
    pub projector: Arc<dyn Projector>,
    /// How long a write takes to become durable, asked for each group of writes; what a crash catches before that is lost.
    pub sync: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// The servers' way to what they keep.
    pub disk: Disk,
    /// Whether the servers send what is in their outboxes.
    pub outbox: bool,
    /// Whether the servers fill in the rooms that they entered.
    pub fill: bool,
    /// Whether the servers fetch the ledgers of rooms that were there before them.
    pub late_ledgers: bool,
    /// Seeds the randomness of the servers.
    pub seed: u64,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            projector: Arc::new(NoProjector),
            sync: Arc::new(|| Duration::ZERO),
            disk: Arc::new(|store: &Arc<MemoryStore>| Arc::clone(store) as Arc<dyn Store>),
            outbox: true,
            fill: true,
            late_ledgers: false,
            seed: 1,
        }
    }
}

/// Servers that can reach each other.
pub struct World {
    /// The network between them.
    pub mesh: Arc<Mesh>,
    servers: BTreeMap<OwnedServerName, Arc<TestServer>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.servers.keys()).finish()
    }
}

impl World {
    /// Servers with these names, up and connected.
    pub fn new(names: &[&str]) -> Self {
        Self::with(names, &WorldOptions::default())
    }

    /// Servers with these names, up and connected.
    pub fn with(names: &[&str], options: &WorldOptions) -> Self {
        let mesh = Arc::new(Mesh::default());
        let start = tokio::time::Instant::now();
        let servers = names.iter().map(|name| {
            let name = OwnedServerName::try_from(*name).unwrap();
            let server = TestServer::new(name.clone(), Arc::clone(&mesh), options.clone(), start);
            server.start();
            (name, server)
        });
        let servers = servers.collect();
        Self { mesh, servers }
    }

    /// The server with a name.
    pub fn server(&self, name: &str) -> &Arc<TestServer> {
        self.servers.get(<&ServerName>::try_from(name).unwrap()).expect("a server of this world")
    }

    /// All servers, in the order of their names.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<TestServer>> {
        self.servers.values()
    }

    /// Cuts the link between two servers, in both directions.
    pub fn cut(&self, one: &str, other: &str) {
        self.mesh.set_link(one, other, false);
        self.mesh.set_link(other, one, false);
    }

    /// Heals the link between two servers, in both directions.
    pub fn heal(&self, one: &str, other: &str) {
        self.mesh.set_link(one, other, true);
        self.mesh.set_link(other, one, true);
    }

    /// Heals all links and delivers all calls from now on.
    pub fn heal_all(&self) {
        self.mesh.heal();
    }
}

#[cfg(test)]
mod tests;
