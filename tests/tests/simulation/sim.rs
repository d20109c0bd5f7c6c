//! One simulation: its servers, its room, and what happens to them.

use std::{
    collections::BTreeSet,
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use engine::{Engine, EngineError, NewEvent, Projector};
use federation::{
    remote::RemoteJoin,
    testing::{TestServer, World, WorldOptions},
};
use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, UserId, events::TimelineEventType};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use crate::net::{self, Weather};

/// What happened, for whoever reads about a failing seed.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    pub(crate) fn add(&self, line: impl Display) {
        self.0.lock().push(line.to_string());
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().join("\n")
    }
}

pub(crate) struct Sim {
    pub(crate) world: World,
    pub(crate) rng: StdRng,
    pub(crate) net_rng: Arc<Mutex<StdRng>>,
    pub(crate) room: OwnedRoomId,
    pub(crate) names: Vec<String>,
    /// Whether every server takes part from the beginning to the end.
    pub(crate) stay: bool,
    pub(crate) root: String,
    pub(crate) create: String,
    pub(crate) trace: Trace,
    pub(crate) started: tokio::time::Instant,
    pub(crate) uids: Arc<AtomicU64>,
    pub(crate) tasks: Vec<JoinHandle<()>>,
    /// What happened before all servers were there: history that those who came later need not have.
    pub(crate) old: BTreeSet<String>,
}

/// The longest wait for what a user does, a join over several servers included.
const PATIENCE: Duration = Duration::from_secs(600);

/// Sends an event as a user of an engine's server.
pub(crate) async fn send(
    engine: &Engine,
    room: &OwnedRoomId,
    sender: &UserId,
    (kind, state_key): (&str, Option<&str>),
    content: &Value,
    redacts: Option<&ruma::EventId>,
) -> Result<OwnedEventId, EngineError> {
    let room = engine.room(room).await?;
    let content = content.to_string();
    let event = NewEvent {
        sender,
        sender_num: engine.user_num(sender).await?,
        event_type: TimelineEventType::from(kind),
        state_key,
        content: &content,
        redacts,
        origin_server_ts: None,
        device: None,
        txn_id: None,
    };
    engine.send(&room, event, None).await
}

impl Sim {
    /// Servers with two users each, in a room of the first server's; the ledger is open.
    pub(crate) async fn new(seed: u64, projector: Arc<dyn Projector>, trace: Trace) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let names: Vec<String> = (1..=rng.random_range(2..=5)).map(|n| format!("s{n}")).collect();
        let sync_rng = Mutex::new(StdRng::seed_from_u64(seed ^ 1));
        let options = WorldOptions {
            projector,
            sync: Arc::new(move || Duration::from_micros(sync_rng.lock().random_range(0..20_000))),
            outbox: true,
            seed,
            ..WorldOptions::default()
        };
        let world = World::with(&names.iter().map(String::as_str).collect::<Vec<_>>(), &options);
        let version = ["6", "9", "10", "11", "12"][rng.random_range(0..5)];
        let stay = rng.random_bool(0.6);
        trace.add(format!("{} servers, version {version}, all stay: {stay}", names.len()));
        for server in world.servers() {
            server.register("a").await;
            server.register("b").await;
        }
        let first = world.server("s1");
        let creator = first.user_id("a");
        let version = RoomVersionId::try_from(version).unwrap();
        let above = version.rules().unwrap().authorization.explicitly_privilege_room_creators;
        let mut levels = Map::new();
        for name in &names {
            let level = if *name == "s1" { 100 } else { 50 };
            if *name != "s1" || !above {
                levels.insert(format!("@a:{name}"), level.into());
            }
        }
        let room = first
            .create_room_by(&creator, version, |plan| {
                plan.power_levels.insert("users".to_owned(), Value::Object(levels));
                plan.power_levels.insert("events".to_owned(), json!({"m.room.power_levels": 50}));
            })
            .await;
        let create = first.state(&room).await[&("m.room.create".to_owned(), String::new())].clone();
        let mut sim = Self {
            world,
            rng,
            net_rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed ^ 2))),
            room,
            names,
            stay,
            root: String::new(),
            create,
            trace,
            started: tokio::time::Instant::now(),
            uids: Arc::default(),
            tasks: Vec::new(),
            old: BTreeSet::new(),
        };
        sim.open_ledger(&creator).await;
        for name in sim.names.clone().iter().skip(1) {
            if sim.stay || sim.rng.random_bool(0.5) {
                let joined = join(&sim.server(name), &sim.room, &sim.user("a", name)).await;
                assert_eq!(joined, Ok(()), "{name} joins");
            }
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        sim.old = sim.world.server("s1").accepted(&sim.room).await;
        sim
    }

    async fn open_ledger(&mut self, creator: &UserId) {
        let engine = self.world.server("s1").engine();
        let open = json!({
            "m.relates_to": {"rel_type": "m.reference", "event_id": self.create},
            "version": 1, "currency": "EUR", "policies": {"settlement": "trust"},
        });
        let root = send(&engine, &self.room, creator, ("com.cliquepay.open", None), &open, None).await.unwrap();
        let pointer = json!({"ledger": root});
        send(&engine, &self.room, creator, ("com.cliquepay.ledger", Some("")), &pointer, None).await.unwrap();
        self.root = root.to_string();
    }

    pub(crate) fn server(&self, name: &str) -> Arc<TestServer> {
        Arc::clone(self.world.server(name))
    }

    pub(crate) fn user(&self, local: &str, name: &str) -> OwnedUserId {
        self.world.server(name).user_id(local)
    }

    pub(crate) fn uid(&self) -> String {
        format!("u{}", self.uids.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn now(&self) -> String {
        format!("{:>9.3}", self.started.elapsed().as_secs_f64())
    }

    /// Some time of trouble.
    pub(crate) async fn run(&mut self) {
        let weather = Weather::of(&mut self.rng);
        self.trace.add(format!("{weather:?}"));
        net::begin(&self.world, weather, &self.net_rng);
        for _ in 0..self.rng.random_range(20..80) {
            self.act().await;
            let pause = [0, 5, 500, 20_000][self.rng.random_range(0..4)];
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..=pause))).await;
        }
    }

    /// Does something by the way: it may be under way when the server crashes.
    pub(crate) fn by_the_way(
        &mut self,
        what: String,
        doing: impl Future<Output = Result<String, String>> + Send + 'static,
    ) {
        let (trace, started) = (self.trace.clone(), self.started);
        trace.add(format!("{} {what}", self.now()));
        self.tasks.push(tokio::spawn(async move {
            let done = tokio::time::timeout(PATIENCE, doing).await;
            let now = started.elapsed().as_secs_f64();
            trace.add(match done {
                Ok(Ok(done)) => format!("{now:>9.3}   {what}: {done}"),
                Ok(Err(error)) => format!("{now:>9.3}   {what}: refused: {error}"),
                Err(_) => format!("{now:>9.3}   {what}: no patience"),
            });
        }));
    }
}

/// A user joins, through the first server where this one is not in the room.
pub(crate) async fn join(server: &TestServer, room: &OwnedRoomId, user: &UserId) -> Result<(), String> {
    let (engine, federation) = (server.engine(), server.federation());
    if let Ok(known) = engine.room(room).await
        && !known.info().local_members.is_empty()
    {
        let member = ("m.room.member", Some(user.as_str()));
        let sent = send(&engine, room, user, member, &json!({"membership": "join"}), None).await;
        return sent.map(drop).map_err(|error| error.to_string());
    }
    let join = RemoteJoin {
        user_id: user.to_owned(),
        room_id: room.clone(),
        via: vec!["s1".try_into().unwrap()],
        content: Map::new(),
        elsewhere: false,
    };
    federation.join(join).await.map(drop).map_err(|error| error.to_string())
}
