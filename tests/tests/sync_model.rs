//! However the stream is cut into incremental syncs, a client ends with what one large initial sync gives.
//!
//! A seeded random history is made by several users. Meanwhile many memories of one observer sync at random moments with
//! different limits, lazily or not, with `state` or with `state_after`, and fill the gaps through `/messages`. At the end
//! all must equal a fresh initial sync, and that one the room's state as `/state` gives it.
//!
//! `TEST_HOMESERVER_URL` drives another server instead of the binary: the control, with what it is known to do
//! differently switched off (`TEST_STATE_AFTER=0`, `TEST_AWAY=0`, `TEST_VISIBILITY=shared`). `TEST_SEED` and
//! `TEST_STEPS` choose the history.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;

use http::Method;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tests::client::{Client, ClientError, room_path};
use tests::http::{Endpoint, encode};
use tests::model::{Cut, Model, View};
use tests::server::{Server, Setup};

const STEPS: usize = 300;
const ROUNDS: u64 = 3;
const PASSWORD: &str = "a long enough password";
/// Snapshots of the memory that syncs at every step are taken this often, and brought to the end in one jump.
const SNAPSHOT_EVERY: usize = 12;

struct Observer {
    name: &'static str,
    client: Client,
    memory: Model,
    /// Syncs after a step with this probability in a hundred.
    eagerness: u32,
    /// The timeline limit is drawn from 1 to this for every sync.
    max_limit: usize,
    lazy: bool,
    state_after: bool,
    /// The step of its initial sync.
    begins: usize,
}

impl Observer {
    fn cut(&self, rng: &mut StdRng) -> Cut {
        Cut {
            limit: rng.random_range(1..=self.max_limit),
            page: rng.random_range(1..=self.max_limit + 2),
            lazy: self.lazy,
            state_after: self.state_after,
        }
    }

    async fn sync(&mut self, rng: &mut StdRng) -> usize {
        let cut = self.cut(rng);
        self.memory
            .sync(&self.client, cut)
            .await
            .unwrap_or_else(|error| panic!("{}: {cut:?}: {error}", self.name))
    }
}

/// What can happen to a membership.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Invite,
    Join,
    Leave,
    Kick,
    Ban,
    Unban,
}

/// What the history is made of. The observer is actor 1.
struct World {
    actors: Vec<Client>,
    rooms: Vec<String>,
    messages: BTreeMap<String, Vec<String>>,
    /// What last happened to an actor's membership of a room.
    standing: BTreeMap<(String, usize), Change>,
    done: usize,
    refused: usize,
    txn: usize,
}

fn pick<'a, T>(rng: &mut StdRng, items: &'a [T]) -> &'a T {
    items.choose(rng).expect("something to choose from")
}

impl World {
    /// A refusal is part of a random history; a server's failure is not.
    fn note<T>(&mut self, what: &str, result: Result<T, ClientError>) -> Option<T> {
        match result {
            Ok(value) => {
                self.done += 1;
                Some(value)
            }
            Err(error)
                if error
                    .status()
                    .is_some_and(|status| (400..500).contains(&status)) =>
            {
                assert_ne!(error.status(), Some(429), "rate limits are on");
                assert_ne!(error.errcode(), Some("M_UNRECOGNIZED"), "{error}");
                self.refused += 1;
                None
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }

    async fn create_room(&mut self, rng: &mut StdRng) {
        let body = json!({
            "preset": "private_chat",
            "name": format!("room {}", self.rooms.len()),
            "room_version": pick(rng, &["10", "11", "12"]),
            "invite": [self.actors[1].user_id(), self.actors[2].user_id()],
            "power_level_content_override": {"state_default": 0},
            "initial_state": [{
                "type": "m.room.history_visibility", "state_key": "",
                "content": {"history_visibility": visibility(rng)}
            }],
        });
        let room = self.actors[0].create_room(&body).await.expect("createRoom");
        for who in [1, 2] {
            self.standing.insert((room.clone(), who), Change::Invite);
        }
        self.rooms.push(room);
    }

    fn txn(&mut self) -> String {
        self.txn += 1;
        format!("t{}", self.txn)
    }

    async fn send(&mut self, room: &str, actor: usize) {
        let (txn, text) = (self.txn(), format!("message {}", self.txn));
        let result = self.actors[actor].send_text(room, &txn, &text).await;
        if let Some(id) = self.note("send", result) {
            self.messages.entry(room.to_owned()).or_default().push(id);
        }
    }

    async fn state(&mut self, rng: &mut StdRng, room: &str, actor: usize) {
        let number = self.txn;
        let (kind, key, content) = match rng.random_range(0..4) {
            0 => (
                "m.room.topic",
                String::new(),
                json!({"topic": format!("topic {number}")}),
            ),
            1 => (
                "m.room.name",
                String::new(),
                json!({"name": format!("name {number}")}),
            ),
            _ => (
                "test.state",
                format!("key {}", rng.random_range(0..4)),
                json!({"value": number}),
            ),
        };
        let result = self.actors[actor]
            .set_state(room, kind, &key, &content)
            .await;
        if let Some(id) = self.note("state", result)
            && kind != "m.room.name"
        {
            // Redacted now and then, as messages are.
            self.messages.entry(room.to_owned()).or_default().push(id);
        }
    }

    async fn redact(&mut self, rng: &mut StdRng, room: &str, actor: usize) {
        let Some(ids) = self.messages.get(room) else {
            return;
        };
        let (target, txn) = (pick(rng, ids).clone(), self.txn());
        let result = self.actors[actor].redact(room, &target, &txn).await;
        self.note("redact", result);
    }

    /// A change that the membership as it is allows; ten in a hundred ignore it and are refused more often than not.
    async fn membership(&mut self, rng: &mut StdRng, room: &str) {
        // The observer's own comings and goings are what is hardest for a server.
        let own = rng.random_range(0..100) < 60;
        let who = if own {
            1
        } else {
            rng.random_range(2..self.actors.len())
        };
        let current = self.standing.get(&(room.to_owned(), who)).copied();
        let current = if rng.random_range(0..100) < 10 {
            None
        } else {
            current
        };
        let changes: &[Change] = match current {
            Some(Change::Join) => &[Change::Leave, Change::Leave, Change::Kick, Change::Ban],
            Some(Change::Invite) => &[
                Change::Join,
                Change::Join,
                Change::Join,
                Change::Leave,
                Change::Kick,
            ],
            Some(Change::Ban) => &[Change::Unban],
            Some(_) => &[Change::Invite, Change::Invite, Change::Invite, Change::Ban],
            None => &[Change::Join, Change::Invite, Change::Kick, Change::Unban],
        };
        let change = *pick(rng, changes);
        let user = self.actors[who].user_id().to_owned();
        let admin = &self.actors[0];
        let result = match change {
            Change::Invite => admin.invite(room, &user).await,
            Change::Join => self.actors[who].join(room).await,
            Change::Leave => self.actors[who].leave(room).await,
            Change::Kick => admin.kick(room, &user).await,
            Change::Ban => admin.ban(room, &user).await,
            Change::Unban => admin.unban(room, &user).await,
        };
        if self.note("membership", result).is_some() {
            self.standing.insert((room.to_owned(), who), change);
        }
    }

    /// Whether the observer is inside, or the server tells whoever joins what was done before.
    fn may_touch(&self, room: &str) -> bool {
        let inside = self.standing.get(&(room.to_owned(), 1)) == Some(&Change::Join);
        inside || !forgets_absence()
    }

    /// Somebody who has joined, mostly.
    fn actor(&self, rng: &mut StdRng, room: &str) -> usize {
        let joined = |who: &usize| {
            *who == 0 || self.standing.get(&(room.to_owned(), *who)) == Some(&Change::Join)
        };
        let inside: Vec<usize> = (0..self.actors.len()).filter(joined).collect();
        if rng.random_range(0..100) < 5 {
            return rng.random_range(0..self.actors.len());
        }
        *pick(rng, &inside)
    }

    async fn put(&mut self, actor: usize, path: &str, body: &Value) {
        let result = self.actors[actor]
            .request(Method::PUT, path, Some(body))
            .await;
        self.note(path, result);
    }

    async fn receipt(&mut self, rng: &mut StdRng, room: &str, actor: usize) {
        let Some(target) = self.messages.get(room).and_then(|ids| ids.last().cloned()) else {
            return;
        };
        let kind = pick(rng, &["m.read", "m.read", "m.read.private"]);
        let path = room_path(room, &format!("receipt/{kind}/{}", encode(&target)));
        let result = self.actors[actor]
            .request(Method::POST, &path, Some(&json!({})))
            .await;
        self.note("receipt", result);
    }

    async fn account_data(&mut self, rng: &mut StdRng, room: &str) {
        let user = encode(self.actors[1].user_id());
        let (number, key) = (self.txn, rng.random_range(0..3));
        let room = encode(room);
        let path = match rng.random_range(0..3) {
            0 => format!("/_matrix/client/v3/user/{user}/account_data/test.global{key}"),
            1 => format!("/_matrix/client/v3/user/{user}/rooms/{room}/account_data/test.room{key}"),
            _ => format!("/_matrix/client/v3/user/{user}/rooms/{room}/tags/u.tag{key}"),
        };
        let body = if path.contains("/tags/") {
            json!({"order": 0.25})
        } else {
            json!({"value": number})
        };
        self.put(1, &path, &body).await;
    }

    async fn step(&mut self, rng: &mut StdRng) {
        self.txn += 1;
        let room = pick(rng, &self.rooms).clone();
        let actor = self.actor(rng, &room);
        match rng.random_range(0..100) {
            0..42 => self.send(&room, actor).await,
            42..54 => self.state(rng, &room, actor).await,
            54..78 => self.membership(rng, &room).await,
            78..84 => self.redact(rng, &room, actor).await,
            84..96 if !self.may_touch(&room) => self.send(&room, actor).await,
            84..91 => self.receipt(rng, &room, actor).await,
            91..96 => self.account_data(rng, &room).await,
            96..98 => {
                let path = format!(
                    "/_matrix/client/v3/profile/{}/displayname",
                    encode(self.actors[actor].user_id())
                );
                let body = json!({"displayname": format!("name {}", self.txn)});
                self.put(actor, &path, &body).await;
            }
            _ if self.rooms.len() < 6 => self.create_room(rng).await,
            _ => self.send(&room, actor).await,
        }
    }
}

async fn observers(endpoint: &Endpoint, user: &str, steps: usize) -> Vec<Observer> {
    let after = std::env::var("TEST_STATE_AFTER").as_deref() != Ok("0");
    let plan = [
        // name, eagerness, limit, lazy, state_after, begins
        ("every step", 100, 2, false, false, 0),
        ("every step, state_after", 100, 3, false, after, 0),
        ("often", 45, 3, false, false, 0),
        ("often, lazy", 45, 2, true, false, 0),
        ("often, state_after", 45, 2, false, after, 0),
        ("now and then", 15, 4, false, false, 0),
        ("now and then, lazy, state_after", 15, 5, true, after, 0),
        ("seldom", 4, 1, false, false, 0),
        ("seldom, large", 4, 50, false, false, steps / 4),
        ("from the middle", 20, 3, false, false, steps / 2),
        (
            "from the middle, state_after",
            20,
            3,
            false,
            after,
            steps / 2,
        ),
        ("start and end", 0, 4, false, false, 0),
        ("start and end, lazy", 0, 1, true, false, 0),
        ("start and end, state_after", 0, 2, false, after, 0),
    ];
    let mut observers = Vec::new();
    for (name, eagerness, max_limit, lazy, state_after, begins) in plan {
        let client = Client::login(endpoint, user, PASSWORD)
            .await
            .expect("login");
        let memory = Model::default();
        observers.push(Observer {
            name,
            client,
            memory,
            eagerness,
            max_limit,
            lazy,
            state_after,
            begins,
        });
    }
    observers
}

/// A fresh initial sync with a timeline as large as the history, on a new device.
async fn reference(endpoint: &Endpoint, user: &str) -> Model {
    let client = Client::login(endpoint, user, PASSWORD)
        .await
        .expect("login");
    let mut memory = Model::default();
    let cut = Cut {
        limit: 100_000,
        page: 1000,
        lazy: false,
        state_after: false,
    };
    memory
        .sync(&client, cut)
        .await
        .expect("one large initial sync");
    memory
}

/// The reference's state must be the room's: `/state` is served from elsewhere than `/sync`.
async fn check_against_state(client: &Client, memory: &Model) {
    for (id, room) in memory
        .rooms
        .iter()
        .filter(|(_, room)| room.section == "join")
    {
        let answer = client.state(id).await.expect("state");
        let mut left: BTreeMap<_, _> = room
            .state
            .iter()
            .map(|(key, event)| (key.clone(), event.id.clone()))
            .collect();
        for event in answer.as_array().expect("an array of events") {
            let text = |field: &str| event[field].as_str().expect("a string").to_owned();
            let key = (text("type"), text("state_key"));
            assert_eq!(left.remove(&key), Some(text("event_id")), "{id}: {key:?}");
        }
        assert!(left.is_empty(), "{id}: /state lacks {left:?}");
    }
}

async fn round(endpoint: &Endpoint, seed: u64, steps: usize) {
    println!("seed {seed}, {steps} steps");
    let mut rng = StdRng::seed_from_u64(seed);
    let tag: u32 = rand::rng().random();
    let mut actors = Vec::new();
    for name in ["ann", "obs", "ben", "cem"] {
        let name = format!("{name}{tag:08x}{seed}");
        actors.push(
            Client::register(endpoint, &name, PASSWORD)
                .await
                .expect("register"),
        );
    }
    let user = actors[1].user_id().to_owned();
    let mut world = World {
        actors,
        rooms: Vec::new(),
        messages: BTreeMap::new(),
        standing: BTreeMap::new(),
        done: 0,
        refused: 0,
        txn: 0,
    };
    let mut observers = observers(endpoint, &user, steps).await;
    let mut snapshots = Vec::new();
    world.create_room(&mut rng).await;
    world.create_room(&mut rng).await;
    for step in 0..steps {
        world.step(&mut rng).await;
        for observer in &mut observers {
            let first = step == observer.begins;
            if first || (step > observer.begins && rng.random_range(0..100) < observer.eagerness) {
                observer.sync(&mut rng).await;
            }
        }
        if step % SNAPSHOT_EVERY == 0 {
            snapshots.push((step, observers[0].memory.clone()));
        }
    }
    println!(
        "{} done, {} refused, {} rooms",
        world.done,
        world.refused,
        world.rooms.len()
    );
    assert!(
        world.done > 3 * world.refused,
        "a history of refusals shows little"
    );
    finish(endpoint, &mut rng, &user, observers, snapshots).await;
}

async fn finish(
    endpoint: &Endpoint,
    rng: &mut StdRng,
    user: &str,
    mut observers: Vec<Observer>,
    snapshots: Vec<(usize, Model)>,
) {
    let reference = reference(endpoint, user).await;
    check_against_state(&observers[0].client, &reference).await;
    let events: usize = reference
        .rooms
        .values()
        .map(|room| room.timeline.len())
        .sum();
    println!(
        "{} rooms, {events} events, {} invitations",
        reference.rooms.len(),
        reference.invites.len()
    );
    let mut failures = Vec::new();
    for observer in &mut observers {
        observer.sync(rng).await;
        let again = observer.sync(rng).await;
        if again != 0 {
            failures.push(format!(
                "{}: a sync that follows at once speaks of {again} rooms",
                observer.name
            ));
        }
        for difference in observer.memory.differences(
            &reference,
            View {
                user,
                lazy: observer.lazy,
                rejoined: !forgets_absence(),
            },
        ) {
            failures.push(format!("{}: {difference}", observer.name));
        }
        println!("  {}: {} gaps filled", observer.name, observer.memory.gaps);
    }
    let jumper = &observers[0].client;
    for (step, mut memory) in snapshots {
        let limit = rng.random_range(1..20);
        let cut = Cut {
            limit,
            page: 1 + limit,
            lazy: false,
            state_after: false,
        };
        memory
            .sync(jumper, cut)
            .await
            .expect("a sync from an old token");
        for difference in memory.differences(
            &reference,
            View {
                user,
                lazy: false,
                rejoined: !forgets_absence(),
            },
        ) {
            failures.push(format!("from step {step} in one jump: {difference}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} differences:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// `TEST_VISIBILITY=shared`: the control shows state events that are current even where their time is hidden.
fn visibility(rng: &mut StdRng) -> &'static str {
    let drawn = pick(rng, &["shared", "joined", "invited", "shared"]);
    if std::env::var("TEST_VISIBILITY").as_deref() == Ok("shared") {
        return "shared";
    }
    drawn
}

/// `TEST_AWAY=0`: the control forgets some receipts and account data of a room that one left and joined again.
fn forgets_absence() -> bool {
    std::env::var("TEST_AWAY").as_deref() == Ok("0")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_cut_of_the_stream_gives_the_same() {
    let steps = number("TEST_STEPS").map_or(STEPS, |steps| {
        usize::try_from(steps).expect("a number of steps")
    });
    let external = std::env::var("TEST_HOMESERVER_URL").ok();
    let mut server = None;
    let endpoint = match &external {
        Some(url) => Endpoint::parse(url).expect("a loopback URL"),
        None => {
            let started = Server::start(Setup::default()).await.expect("the server");
            let endpoint = started.endpoint().clone();
            server = Some(started);
            endpoint
        }
    };
    match number("TEST_SEED") {
        Some(seed) => round(&endpoint, seed, steps).await,
        None => {
            for _ in 0..ROUNDS {
                round(&endpoint, u64::from(rand::rng().random::<u32>()), steps).await;
            }
        }
    }
    if let Some(mut server) = server {
        let status = server.stop().await.expect("an orderly stop");
        assert!(status.success(), "the server ended with {status}");
    }
}
