//! One simulation: its servers, its room, and what happens to them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use engine::{Engine, EngineError, NewEvent};
use federation::{
    Federation,
    remote::RemoteJoin,
    testing::{TestServer, World, WorldOptions},
};
use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, UserId, events::TimelineEventType};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use crate::{
    bugs::{Rig, rows},
    net::{self, Weather},
    trace::{Trace, hash},
};

/// The users of each server: the first two begin in the room, or come early; the third comes where somebody invites them.
pub(crate) const LOCALS: [&str; 3] = ["a", "b", "c"];

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
    uids: u64,
    pub(crate) tasks: Vec<JoinHandle<()>>,
    /// Events that a server told its user that it has, with its name.
    pub(crate) acknowledged: Arc<Mutex<Vec<(String, OwnedEventId)>>>,
    /// What happened before all servers were there: history that those who came later need not have.
    pub(crate) old: BTreeSet<String>,
    rig: Rig,
}

/// The longest wait for what a user does, a join over several servers included.
const PATIENCE: Duration = Duration::from_secs(600);

/// An event that a user sends.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) kind: &'static str,
    pub(crate) state_key: Option<String>,
    pub(crate) content: Value,
    pub(crate) redacts: Option<OwnedEventId>,
}

impl Post {
    pub(crate) fn message(kind: &'static str, content: Value) -> Self {
        Self { kind, state_key: None, content, redacts: None }
    }

    pub(crate) fn state(kind: &'static str, state_key: impl Into<String>, content: Value) -> Self {
        Self { kind, state_key: Some(state_key.into()), content, redacts: None }
    }

    pub(crate) fn member(user: &UserId, membership: &str) -> Self {
        Self::state("m.room.member", user.as_str(), json!({"membership": membership}))
    }

    pub(crate) fn redaction(target: &EventId) -> Self {
        Self { redacts: Some(target.to_owned()), ..Self::message("m.room.redaction", json!({})) }
    }
}

/// Sends an event as a user of an engine's server.
pub(crate) async fn send(
    engine: &Engine,
    room: &OwnedRoomId,
    sender: &UserId,
    post: &Post,
) -> Result<OwnedEventId, EngineError> {
    let room = engine.room(room).await?;
    let content = post.content.to_string();
    let event = NewEvent {
        sender,
        sender_num: engine.user_num(sender).await?,
        event_type: TimelineEventType::from(post.kind),
        state_key: post.state_key.as_deref(),
        content: &content,
        redacts: post.redacts.as_deref(),
        origin_server_ts: None,
        device: None,
        txn_id: None,
    };
    engine.send(&room, event, None).await
}

impl Sim {
    /// Servers with their users, in a room of the first server's; the ledger is open.
    pub(crate) async fn new(seed: u64, rig: &Rig, trace: Trace) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let names: Vec<String> = (1..=rng.random_range(2..=5)).map(|n| format!("s{n}")).collect();
        let sync_rng = Mutex::new(StdRng::seed_from_u64(seed ^ 1));
        let options = WorldOptions {
            projector: Arc::clone(&rig.projector),
            sync: Arc::new(move || Duration::from_micros(sync_rng.lock().random_range(0..20_000))),
            disk: Arc::clone(&rig.disk),
            outbox: true,
            fill: true,
            late_ledgers: true,
            seed,
        };
        let world = World::with(&names.iter().map(String::as_str).collect::<Vec<_>>(), &options);
        let version = ["6", "9", "10", "11", "12"][rng.random_range(0..5)];
        let stay = rng.random_bool(0.6);
        trace.add(format_args!("{} servers, version {version}, all stay: {stay}", names.len()));
        for server in world.servers() {
            for local in LOCALS {
                server.register(local).await;
            }
        }
        let room = make_room(&world, &names, version).await;
        let create = world.server("s1").state(&room).await[&("m.room.create".to_owned(), String::new())].clone();
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
            uids: 0,
            tasks: Vec::new(),
            acknowledged: Arc::default(),
            old: BTreeSet::new(),
            rig: rig.clone(),
        };
        net::begin(&sim.world, None, &sim.net_rng, &sim.trace);
        sim.open_ledger().await;
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

    async fn open_ledger(&mut self) {
        let (engine, creator) = (self.server("s1").engine(), self.user("a", "s1"));
        let (settlement, edit) = (self.any(&["trust", "confirm"]), self.any(&["author", "participants"]));
        let policies = json!({"settlement": settlement, "edit": edit});
        let open = json!({
            "m.relates_to": {"rel_type": "m.reference", "event_id": self.create},
            "version": 1, "currency": "EUR", "policies": policies,
        });
        let open = Post::message("com.cliquepay.open", open);
        let root = send(&engine, &self.room, &creator, &open).await.unwrap();
        let pointer = Post::state("com.cliquepay.ledger", "", json!({"ledger": root}));
        send(&engine, &self.room, &creator, &pointer).await.unwrap();
        self.root = root.to_string();
    }

    pub(crate) fn server(&self, name: &str) -> Arc<TestServer> {
        Arc::clone(self.world.server(name))
    }

    pub(crate) fn user(&self, local: &str, name: &str) -> OwnedUserId {
        self.world.server(name).user_id(local)
    }

    pub(crate) fn uid(&mut self) -> String {
        self.uids += 1;
        format!("u{}", self.uids)
    }

    /// Any of these.
    pub(crate) fn any<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())].clone()
    }

    /// Some time of trouble.
    pub(crate) async fn run(&mut self) {
        let weather = Weather::of(&mut self.rng);
        self.trace.add(format_args!("{weather:?}"));
        net::begin(&self.world, Some(weather), &self.net_rng, &self.trace);
        let servers = self.names.iter().map(|name| (name.clone(), self.server(name))).collect();
        if let Some(meddler) = self.rig.meddler(servers) {
            self.world.mesh.meddle(meddler);
        }
        for _ in 0..self.rng.random_range(20..80) {
            self.act().await;
            let pause = self.any(&[0, 5, 500, 20_000]);
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..=pause))).await;
        }
    }

    /// A user sends something by the way.
    pub(crate) fn post(&mut self, name: &str, engine: Arc<Engine>, user: OwnedUserId, post: Post) {
        let key = post.state_key.as_deref().map(|key| format!(" of {key:?}")).unwrap_or_default();
        let (what, room) = (format!("{user} {}{key} {}", post.kind, post.content), self.room.clone());
        let (acknowledged, name) = (Arc::clone(&self.acknowledged), name.to_owned());
        self.by_the_way(what, async move {
            let sent = send(&engine, &room, &user, &post).await.map_err(|error| error.to_string())?;
            acknowledged.lock().push((name, sent.clone()));
            Ok(sent.to_string())
        });
    }

    /// Does something by the way: it may be under way when the server crashes.
    pub(crate) fn by_the_way(
        &mut self,
        what: String,
        doing: impl Future<Output = Result<String, String>> + Send + 'static,
    ) {
        let trace = self.trace.clone();
        trace.add(&what);
        self.tasks.push(tokio::spawn(async move {
            let done = tokio::time::timeout(PATIENCE, doing).await;
            trace.add(match done {
                Ok(Ok(done)) => format!("  {what}: {done}"),
                Ok(Err(error)) => format!("  {what}: refused: {error}"),
                Err(_) => format!("  {what}: no patience"),
            });
        }));
    }

    /// A number for every byte that the servers have kept.
    pub(crate) async fn stores(&self) -> u64 {
        let of = |name: &String| rows(&self.server(name).store);
        let all: Vec<_> = self.names.iter().flat_map(of).collect();
        hash(format!("{all:?}").as_bytes())
    }
}

async fn make_room(world: &World, names: &[String], version: &str) -> OwnedRoomId {
    let first = world.server("s1");
    let creator = first.user_id("a");
    let version = RoomVersionId::try_from(version).unwrap();
    let above = version.rules().unwrap().authorization.explicitly_privilege_room_creators;
    let mut levels = Map::new();
    for name in names {
        let level = if *name == "s1" { 100 } else { 50 };
        if *name != "s1" || !above {
            levels.insert(format!("@a:{name}"), level.into());
        }
    }
    let plan = |plan: &mut engine::RoomPlan<'_>| {
        plan.power_levels.insert("users".to_owned(), Value::Object(levels));
        plan.power_levels.insert("events".to_owned(), json!({"m.room.power_levels": 50}));
    };
    first.create_room_by(&creator, version, plan).await
}

/// A user joins, through the first server where this one is not in the room.
pub(crate) async fn join(server: &TestServer, room: &OwnedRoomId, user: &UserId) -> Result<(), String> {
    join_by(server.engine(), server.federation(), room, user).await
}

/// The same in one life of a server.
pub(crate) async fn join_by(
    engine: Arc<Engine>,
    federation: Arc<Federation>,
    room: &OwnedRoomId,
    user: &UserId,
) -> Result<(), String> {
    if let Ok(known) = engine.room(room).await
        && !known.info().local_members.is_empty()
    {
        let sent = send(&engine, room, user, &Post::member(user, "join")).await;
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
