//! One server of a world, through its lives.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use engine::{CacheSizes, Engine, Identity};
use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::StdRng};
use room::SigningKey;
use ruma::{OwnedServerName, OwnedUserId};
use store::{Clock, Db, Ids, MemoryStore, Stepper, open_schema};
use tokio::{task::AbortHandle, time::Instant};
use users::{Users, UsersOptions, accounts::NewAccount};

use super::{
    WorldOptions,
    clock::WorldClock,
    mesh::{Mesh, MeshTransport},
};
use crate::{Api, Call, Federation, FederationConfig, FederationParts};

/// A server that runs.
pub struct Life {
    /// Rooms.
    pub engine: Arc<Engine>,
    /// Local users.
    pub users: Arc<Users>,
    /// Federation.
    pub federation: Arc<Federation>,
    alive: Arc<AtomicBool>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Release);
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// A server: its name, its key and its store outlive its crashes.
pub struct TestServer {
    /// Its name.
    pub name: OwnedServerName,
    /// What time it thinks it is.
    pub clock: Arc<WorldClock>,
    /// What it keeps.
    pub store: Arc<MemoryStore>,
    mesh: Arc<Mesh>,
    options: WorldOptions,
    lives: AtomicU64,
    rooms: AtomicU64,
    life: Mutex<Option<Life>>,
}

impl fmt::Debug for TestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The seed of a server's signing key, by its name.
fn seed_of(name: &str) -> [u8; 32] {
    let mut seed = [7; 32];
    seed.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    seed
}

impl TestServer {
    pub(super) fn new(name: OwnedServerName, mesh: Arc<Mesh>, options: WorldOptions, start: Instant) -> Arc<Self> {
        let (clock, store) = (Arc::new(WorldClock::new(start)), Arc::default());
        let (lives, rooms, life) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(None));
        Arc::new(Self { name, clock, store, mesh, options, lives, rooms, life })
    }

    /// The key that signs its events.
    pub fn key(&self) -> SigningKey {
        SigningKey::from_seed(&seed_of(self.name.as_str()), "k1").unwrap()
    }

    /// A number for the next room's id.
    pub(super) fn next_room(&self) -> u64 {
        self.rooms.fetch_add(1, Ordering::SeqCst)
    }

    /// Starts it over what its store holds; a life that it has ends.
    pub fn start(&self) {
        self.crash();
        let nth = self.lives.fetch_add(1, Ordering::SeqCst);
        let disk = (self.options.disk)(&self.store);
        open_schema(&*disk, 1, &[]).unwrap();
        let (db, stepper) = Db::open_stepped(disk).unwrap();
        let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let engine = Arc::new(Engine::new(
            Arc::clone(&db),
            Arc::clone(&ids),
            Identity { server_name: self.name.clone(), key: self.key() },
            Arc::clone(&clock),
            Arc::clone(&self.options.projector),
            CacheSizes::default(),
        ));
        let name = self.name.clone();
        let users =
            Users::new(Arc::clone(&db), ids, Arc::clone(&clock), name.clone(), nth + 1, UsersOptions::default());
        let alive = Arc::new(AtomicBool::new(true));
        let transport = MeshTransport { from: name, mesh: Arc::clone(&self.mesh), alive: Arc::clone(&alive) };
        let seed = self
            .name
            .as_str()
            .bytes()
            .fold(self.options.seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let federation = Federation::new(FederationParts {
            engine: Arc::clone(&engine),
            users: Arc::clone(&users),
            db,
            clock,
            rng: Box::new(StdRng::seed_from_u64(seed.wrapping_add(nth))),
            transport: Arc::new(transport),
            config: FederationConfig { allow_private_addresses: true, ..FederationConfig::default() },
        });
        let mut tasks = vec![tokio::spawn(land(stepper, Arc::clone(&self.options.sync))).abort_handle()];
        if self.options.outbox {
            let outbox = Arc::clone(&federation.outbox);
            tasks.push(tokio::spawn(outbox.run(std::future::pending())).abort_handle());
        }
        if self.options.fill {
            let fills = Arc::clone(&federation).fill_rooms(std::future::pending());
            tasks.push(tokio::spawn(fills).abort_handle());
        }
        if self.options.late_ledgers {
            let fetching = Arc::clone(&federation).fetch_late_ledgers(std::future::pending());
            tasks.push(tokio::spawn(fetching).abort_handle());
        }
        let router = http_kit::finish(crate::router().with_state(Api(Arc::clone(&federation))));
        self.mesh.answer_by(self.name.as_str(), router);
        *self.life.lock() = Some(Life { engine, users, federation, alive, tasks });
    }

    /// Ends it between two instructions: what was not durable is lost, and others reach it no more.
    pub fn crash(&self) {
        self.mesh.forget(&self.name);
        drop(self.life.lock().take());
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.life.lock().is_some()
    }

    fn of_life<T>(&self, read: impl Fn(&Life) -> T) -> T {
        self.life.lock().as_ref().map(read).expect("the server runs")
    }

    /// Its rooms.
    pub fn engine(&self) -> Arc<Engine> {
        self.of_life(|life| Arc::clone(&life.engine))
    }

    /// Its users.
    pub fn users(&self) -> Arc<Users> {
        self.of_life(|life| Arc::clone(&life.users))
    }

    /// Its federation.
    pub fn federation(&self) -> Arc<Federation> {
        self.of_life(|life| Arc::clone(&life.federation))
    }

    /// A call as this server signs it, where its body was changed.
    pub fn signed(&self, mut call: Call) -> Call {
        let client = Arc::clone(&self.federation().client);
        call.headers = client.sign(&call.destination, &call.method, &call.target, &call.body).unwrap();
        call
    }

    /// A user of this server, registered where there was none.
    pub async fn register(&self, localpart: &str) -> OwnedUserId {
        let users = self.users();
        if let Some(account) = users.accounts.find(localpart).await.unwrap() {
            return account.user_id;
        }
        users.register(NewAccount::user(localpart), None).await.unwrap().user_id
    }
}

/// Lands what is queued, group by group.
async fn land(mut stepper: Stepper, sync: Arc<dyn Fn() -> std::time::Duration + Send + Sync>) {
    loop {
        stepper.queued().await;
        let took = sync();
        if !took.is_zero() {
            tokio::time::sleep(took).await;
        }
        if !stepper.step() {
            return;
        }
    }
}
