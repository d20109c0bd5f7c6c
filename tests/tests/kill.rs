//! Twenty SIGKILLs among ten thousand acknowledged writes: nothing acknowledged is lost, doubled or out of order.
//!
//! Sixteen clients write into eight rooms, each one request at a time, and repeat what got no answer under the same
//! transaction id until it is answered. One more client follows by incremental syncs all the while. At the end the rooms
//! hold exactly what was acknowledged, the follower knows what a fresh client knows, and the server's own `check` finds
//! that everything derived equals a rebuild from the events.
//!
//! `TEST_SEED` repeats a run's choices, `TEST_WRITES` sets the writes of each client, `TEST_LEDGER=0` leaves expenses out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tests::client::{Client, ClientError};
use tests::http::{Endpoint, encode};
use tests::model::{Cut, Model, ModelError, View};
use tests::server::{Server, Setup};

const ROOMS: usize = 8;
const WRITERS: usize = 16;
const WRITES_EACH: usize = 640;
const _: () = assert!(WRITERS * WRITES_EACH >= 10_000);
const KILLS: usize = 20;
const PASSWORD: &str = "a long enough password";
/// After these kills, while the server is down, the store is compared with a rebuild as well.
const CHECKED_KILLS: [usize; 2] = [7, 14];
/// One write may be repeated for so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The types of event that the writers make.
const KINDS: [&str; 4] = ["m.room.message", "m.room.redaction", "test.kill", "com.cliquepay.expense"];

#[derive(Debug, Clone)]
struct Acknowledged {
    room: usize,
    event_id: String,
    /// Whether its redaction leaves no content: the model knows no other.
    redactable: bool,
}

struct Shared {
    rooms: Vec<String>,
    users: Vec<String>,
    acknowledged: AtomicUsize,
    repeated: AtomicUsize,
    ledger: bool,
    writes_each: usize,
}

/// One request, repeated until the server answers.
async fn insist(client: &Client, shared: &Shared, path: &str, body: &Value) -> Value {
    let begun = Instant::now();
    loop {
        match client.request(Method::PUT, path, Some(body)).await {
            Ok(answer) => return answer,
            Err(error) if error.is_unanswered() && begun.elapsed() < PATIENCE => {
                shared.repeated.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn id(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_else(|| panic!("no {field} in {answer}")).to_owned()
}

fn expense(shared: &Shared, writer: usize, number: usize, cents: u32) -> Value {
    let people: Vec<Value> =
        [writer, (writer + 1) % WRITERS].iter().map(|who| json!({"who": shared.users[*who]})).collect();
    json!({"type": "com.cliquepay.expense", "content": {
        "title": format!("w{writer} n{number}"), "currency": "EUR", "amount": format!("{}.{:02}", 1 + cents / 100, cents % 100),
        "split": {"method": "equal", "inputs": people}
    }})
}

async fn write(client: Client, shared: Arc<Shared>, writer: usize, seed: u64) -> Vec<Acknowledged> {
    let mut rng = StdRng::seed_from_u64(seed ^ (writer as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut done: Vec<Acknowledged> = Vec::new();
    let mut number = 0;
    while number < shared.writes_each {
        let room = rng.random_range(0..ROOMS);
        let path = format!("/_matrix/client/v3/rooms/{}", encode(&shared.rooms[room]));
        let dice = rng.random_range(0..100);
        let own = done.iter().rev().find(|earlier| earlier.room == room && earlier.redactable);
        let (path, body) = match dice {
            0..6 if shared.ledger => (
                format!(
                    "/_matrix/client/unstable/com.cliquepay/v1/rooms/{}/ledger/entries/t{number}",
                    encode(&shared.rooms[room])
                ),
                expense(&shared, writer, number, rng.random_range(0..9999)),
            ),
            6..10 if own.is_some() => {
                let target = own.map(|earlier| encode(&earlier.event_id)).unwrap_or_default();
                (format!("{path}/redact/{target}/t{number}"), json!({"reason": "kill test"}))
            }
            10..20 => (format!("{path}/send/test.kill/t{number}"), json!({"writer": writer, "number": number})),
            _ => (
                format!("{path}/send/m.room.message/t{number}"),
                json!({"msgtype": "m.text", "body": format!("writer {writer} number {number}")}),
            ),
        };
        let answer = insist(&client, &shared, &path, &body).await;
        done.push(Acknowledged { room, event_id: id(&answer, "event_id"), redactable: !path.contains("/redact/") });
        if let Some(line) = answer["line_event_id"].as_str() {
            done.push(Acknowledged { room, event_id: line.to_owned(), redactable: true });
        }
        shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        number += 1;
    }
    done
}

/// Incremental syncs until told to end, then one more. Gives the memory and its device.
async fn follow(client: Client, end: Arc<AtomicBool>) -> (Model, Client) {
    let mut memory = Model::default();
    let cut = Cut { limit: 20, page: 100, lazy: false, state_after: false };
    loop {
        let last = end.load(Ordering::Acquire);
        match memory.sync(&client, cut).await {
            Ok(_) if last => return (memory, client),
            Ok(_) => tokio::time::sleep(Duration::from_millis(30)).await,
            Err(ModelError::Client(ClientError::Http(_))) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("the follower: {error}"),
        }
    }
}

fn check_store(server: &Server, when: &str) {
    let output = server.admin(&["check"]).expect("the check command");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "check {when}: {}\n{out}\n{err}", output.status);
    println!("check {when}: {}", out.lines().last().unwrap_or_default());
}

async fn kill_at_random(server: &mut Server, shared: &Shared, rng: &mut StdRng) {
    let slice = WRITERS * shared.writes_each / (KILLS + 1);
    for kill in 0..KILLS {
        let at = kill * slice + rng.random_range(slice / 4..slice);
        while shared.acknowledged.load(Ordering::Relaxed) < at {
            if let Some(status) = server.try_wait().expect("a process") {
                panic!("the server ended by itself with {status}\n{}", server.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..20_000))).await;
        server.kill().expect("SIGKILL");
        if CHECKED_KILLS.contains(&kill) {
            check_store(server, &format!("after kill {kill}"));
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..50))).await;
        server.launch().await.expect("a restart on the same data");
    }
}

async fn people(endpoint: &Endpoint, ledger: bool, writes_each: usize) -> (Vec<Client>, Shared) {
    let mut clients = Vec::new();
    for writer in 0..WRITERS {
        clients.push(Client::register(endpoint, &format!("writer{writer}"), PASSWORD).await.expect("register"));
    }
    let mut rooms = Vec::new();
    for room in 0..ROOMS {
        let body = json!({"preset": "public_chat", "name": format!("room {room}")});
        let id = clients[0].create_room(&body).await.expect("createRoom");
        for client in &clients[1..] {
            client.join(&id).await.expect("join");
        }
        if ledger {
            let path = format!("/_matrix/client/unstable/com.cliquepay/v1/rooms/{}/ledger/open", encode(&id));
            let body = json!({"currency": "EUR"});
            clients[0].request(Method::PUT, &path, Some(&body)).await.expect("a ledger");
        }
        rooms.push(id);
    }
    let users = clients.iter().map(|client| client.user_id().to_owned()).collect();
    let (acknowledged, repeated) = (AtomicUsize::new(0), AtomicUsize::new(0));
    (clients, Shared { rooms, users, acknowledged, repeated, ledger, writes_each })
}

/// Every room holds exactly the acknowledged events, each once, each sender's in order.
fn check_room(room: usize, served: &[Value], before: &BTreeSet<String>, done: &[Vec<Acknowledged>]) {
    let mut places = BTreeMap::new();
    for (place, event) in served.iter().enumerate() {
        let event_id = id(event, "event_id");
        assert!(places.insert(event_id.clone(), place).is_none(), "room {room}: {event_id} is served twice");
    }
    let mut wanted = BTreeSet::new();
    for (writer, acknowledged) in done.iter().enumerate() {
        let mut last = None;
        for one in acknowledged.iter().filter(|one| one.room == room) {
            let place = places.get(&one.event_id);
            assert!(place.is_some(), "room {room}: {} of writer {writer} was acknowledged and is lost", one.event_id);
            assert!(place > last, "room {room}: {} of writer {writer} is out of order", one.event_id);
            assert!(wanted.insert(&one.event_id), "{} was acknowledged for two writes", one.event_id);
            last = place;
        }
    }
    for event in served.iter().filter(|event| KINDS.contains(&event["type"].as_str().unwrap_or_default())) {
        let event_id = id(event, "event_id");
        let known = wanted.contains(&event_id) || before.contains(&event_id);
        assert!(known, "room {room}: {event} was acknowledged by no answer: some write is there twice");
    }
    println!("room {room}: {} events, {} acknowledged", served.len(), wanted.len());
}

async fn ids(client: &Client, room: &str) -> BTreeSet<String> {
    let events = client.all_messages(room, 500).await.expect("messages");
    events.iter().map(|event| id(event, "event_id")).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_doubled_or_out_of_order() {
    let seed = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(rand::rng().random::<u32>()));
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let ledger = std::env::var("TEST_LEDGER").as_deref() != Ok("0");
    let writes_each = number("TEST_WRITES").map_or(WRITES_EACH, |count| usize::try_from(count).expect("a count"));
    let mut server = Server::start(Setup::default()).await.expect("the server");
    let endpoint = server.endpoint().clone();
    let (clients, shared) = people(&endpoint, ledger, writes_each).await;
    let shared = Arc::new(shared);
    let reader = Client::login(&endpoint, "writer0", PASSWORD).await.expect("login");
    let mut before = Vec::new();
    for room in &shared.rooms {
        before.push(ids(&reader, room).await);
    }
    let end = Arc::new(AtomicBool::new(false));
    let follower = Client::login(&endpoint, "writer1", PASSWORD).await.expect("login");
    let follower = tokio::spawn(follow(follower, Arc::clone(&end)));
    let mut writers = Vec::new();
    for (writer, client) in clients.into_iter().enumerate() {
        writers.push(tokio::spawn(write(client, Arc::clone(&shared), writer, seed)));
    }
    kill_at_random(&mut server, &shared, &mut rng).await;
    let mut done = Vec::new();
    for writer in writers {
        done.push(writer.await.expect("a writer"));
    }
    let (acknowledged, repeated) =
        (shared.acknowledged.load(Ordering::Relaxed), shared.repeated.load(Ordering::Relaxed));
    println!("{acknowledged} writes acknowledged, {repeated} requests repeated, {KILLS} kills");
    assert_eq!(acknowledged, WRITERS * shared.writes_each);
    assert!(repeated > 0, "no kill met a request");

    for (room, room_id) in shared.rooms.iter().enumerate() {
        let served = reader.all_messages(room_id, 500).await.expect("messages");
        check_room(room, &served, &before[room], &done);
    }
    end.store(true, Ordering::Release);
    let (memory, device) = follower.await.expect("the follower");
    let mut fresh = Model::default();
    let cut = Cut { limit: 1000, page: 1000, lazy: false, state_after: false };
    let client = Client::login(&endpoint, "writer1", PASSWORD).await.expect("login");
    fresh.sync(&client, cut).await.expect("a large sync");
    let differences = memory.differences(&fresh, View { user: device.user_id(), lazy: false, rejoined: true });
    assert!(differences.is_empty(), "the follower differs:\n{}", differences.join("\n"));

    let status = server.stop().await.expect("an orderly stop");
    assert!(status.success(), "the server ended with {status}\n{}", server.log_tail());
    check_store(&server, "at the end");
}

mod the_check_can_fail {
    use super::*;

    fn event(id: &str) -> Value {
        json!({"event_id": id, "type": "m.room.message"})
    }

    fn acknowledged(ids: &[&str]) -> Vec<Vec<Acknowledged>> {
        let one = |id: &&str| Acknowledged { room: 0, event_id: (*id).to_owned(), redactable: true };
        vec![ids.iter().map(one).collect()]
    }

    fn check(served: &[&str], ids: &[&str]) {
        let served: Vec<Value> = served.iter().map(|id| event(id)).collect();
        check_room(0, &served, &BTreeSet::from(["$old".to_owned()]), &acknowledged(ids));
    }

    #[test]
    fn a_whole_room_passes() {
        check(&["$old", "$a", "$b"], &["$a", "$b"]);
    }

    #[test]
    #[should_panic(expected = "is lost")]
    fn a_loss_shows() {
        check(&["$a"], &["$a", "$b"]);
    }

    #[test]
    #[should_panic(expected = "served twice")]
    fn an_event_served_twice_shows() {
        check(&["$a", "$b", "$a"], &["$a", "$b"]);
    }

    #[test]
    #[should_panic(expected = "some write is there twice")]
    fn a_write_under_two_ids_shows() {
        check(&["$a", "$again", "$b"], &["$a", "$b"]);
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn another_order_shows() {
        check(&["$b", "$a"], &["$a", "$b"]);
    }
}
