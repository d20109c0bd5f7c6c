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

mod world;

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tests::client::Client;
use tests::http::Endpoint;
use tests::model::{Cut, Model, View};
use tests::server::{Server, Setup};
use world::{World, forgets_absence};

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
        self.memory.sync(&self.client, cut).await.unwrap_or_else(|error| panic!("{}: {cut:?}: {error}", self.name))
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
        ("from the middle, state_after", 20, 3, false, after, steps / 2),
        ("start and end", 0, 4, false, false, 0),
        ("start and end, lazy", 0, 1, true, false, 0),
        ("start and end, state_after", 0, 2, false, after, 0),
    ];
    let mut observers = Vec::new();
    for (name, eagerness, max_limit, lazy, state_after, begins) in plan {
        let client = Client::login(endpoint, user, PASSWORD).await.expect("login");
        let memory = Model::default();
        observers.push(Observer { name, client, memory, eagerness, max_limit, lazy, state_after, begins });
    }
    observers
}

/// A fresh initial sync with a timeline as large as the history, on a new device.
async fn reference(endpoint: &Endpoint, user: &str) -> Model {
    let client = Client::login(endpoint, user, PASSWORD).await.expect("login");
    let mut memory = Model::default();
    let cut = Cut { limit: 100_000, page: 1000, lazy: false, state_after: false };
    memory.sync(&client, cut).await.expect("one large initial sync");
    memory
}

/// The reference's state must be the room's: `/state` is served from elsewhere than `/sync`.
async fn check_against_state(client: &Client, memory: &Model) {
    for (id, room) in memory.rooms.iter().filter(|(_, room)| room.section == "join") {
        let answer = client.state(id).await.expect("state");
        let mut left: BTreeMap<_, _> = room.state.iter().map(|(key, event)| (key.clone(), event.id.clone())).collect();
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
        actors.push(Client::register(endpoint, &name, PASSWORD).await.expect("register"));
    }
    let user = actors[1].user_id().to_owned();
    let mut world = World::new(actors);
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
    println!("{} done, {} refused, {} rooms", world.done, world.refused, world.rooms.len());
    assert!(world.done > 3 * world.refused, "a history of refusals shows little");
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
    let events: usize = reference.rooms.values().map(|room| room.timeline.len()).sum();
    println!("{} rooms, {events} events, {} invitations", reference.rooms.len(), reference.invites.len());
    let mut failures = Vec::new();
    for observer in &mut observers {
        observer.sync(rng).await;
        let again = observer.sync(rng).await;
        if again != 0 {
            failures.push(format!("{}: a sync that follows at once speaks of {again} rooms", observer.name));
        }
        for difference in
            observer.memory.differences(&reference, View { user, lazy: observer.lazy, rejoined: !forgets_absence() })
        {
            failures.push(format!("{}: {difference}", observer.name));
        }
        println!("  {}: {} gaps filled", observer.name, observer.memory.gaps);
    }
    let jumper = &observers[0].client;
    for (step, mut memory) in snapshots {
        let limit = rng.random_range(1..20);
        let cut = Cut { limit, page: 1 + limit, lazy: false, state_after: false };
        memory.sync(jumper, cut).await.expect("a sync from an old token");
        for difference in memory.differences(&reference, View { user, lazy: false, rejoined: !forgets_absence() }) {
            failures.push(format!("from step {step} in one jump: {difference}"));
        }
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_cut_of_the_stream_gives_the_same() {
    let steps = number("TEST_STEPS").map_or(STEPS, |steps| usize::try_from(steps).expect("a number of steps"));
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
