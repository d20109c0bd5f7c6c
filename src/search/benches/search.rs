//! What it costs to index messages and to find them: 100,000 in ten rooms, of words that are used as unevenly as in real life.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::HashMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use engine::{CacheSizes, Engine, FirstEvent, Identity, NewEvent, NewRoom, NoProjector, Room, RoomNum};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId, events::TimelineEventType};
use search::{Key, Order, Query, Search, Stay};
use serde_json::json;
use store::{Clock, CommitterOptions, Db, Ids, ManualClock, MemoryStore, Store, open_schema};
use tokio::runtime::Runtime;

const MESSAGES: usize = 100_000;
const ROOMS: u32 = 10;
const WORDS: u32 = 20_000;

fn engine() -> Arc<Engine> {
    let store = MemoryStore::default();
    open_schema(&store, 1, &[]).unwrap();
    let db = Db::open(Arc::new(store) as Arc<dyn Store>, CommitterOptions::default(), |_| {}).unwrap();
    let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
    let key = room::SigningKey::from_seed(&[7; 32], "k1").unwrap();
    let identity = Identity { server_name: "hs".try_into().unwrap(), key };
    let clock = Arc::new(ManualClock::new(1_000_000)) as Arc<dyn Clock>;
    Arc::new(Engine::new(db, ids, identity, clock, Arc::new(NoProjector), CacheSizes::default()))
}

/// A word; the lower its number, the more often it is used.
fn word(rng: &mut StdRng) -> String {
    let uneven = rng.random_range(0.0..1.0_f64).powi(4);
    format!("w{}", (uneven * f64::from(WORDS)) as u32)
}

async fn room(engine: &Engine, user: &OwnedUserId, n: u32) -> Arc<Room> {
    let new = NewRoom {
        creator: user,
        creator_num: engine.user_num(user).await.unwrap(),
        version: RoomVersionId::V11,
        create: json!({"room_version": "11"}).to_string(),
        room_id: OwnedRoomId::try_from(format!("!r{n}:hs")).unwrap(),
        events: vec![
            FirstEvent::new("m.room.member", user.as_str(), r#"{"membership":"join"}"#),
            FirstEvent::new("m.room.power_levels", "", json!({"users": {user.as_str(): 100}}).to_string()),
        ],
        alias: None,
        public: false,
    };
    engine.create_room(new, None).await.unwrap().room
}

/// Writes the messages, and says how long each took.
async fn write(engine: &Engine, user: &OwnedUserId, rooms: &[Arc<Room>], count: usize) -> Duration {
    let (num, mut rng) = (engine.user_num(user).await.unwrap(), StdRng::seed_from_u64(7));
    let begun = Instant::now();
    for n in 0..count {
        let text: Vec<String> = (0..12).map(|_| word(&mut rng)).collect();
        let content = json!({"msgtype": "m.text", "body": text.join(" ")}).to_string();
        let new = NewEvent {
            sender: user,
            sender_num: num,
            event_type: TimelineEventType::from("m.room.message"),
            state_key: None,
            content: &content,
            redacts: None,
            origin_server_ts: None,
            device: None,
            txn_id: None,
        };
        engine.send(&rooms[n % rooms.len()], new, None).await.unwrap();
    }
    begun.elapsed() / u32::try_from(count).unwrap()
}

fn benches(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let user: OwnedUserId = "@alice:hs".try_into().unwrap();
    let engine = engine();
    let rooms: Vec<Arc<Room>> =
        runtime.block_on(async { futures_of((0..ROOMS).map(|n| room(&engine, &user, n))).await });
    let alone = runtime.block_on(write(&engine, &user, &rooms, MESSAGES));

    let folder = tempfile::tempdir().unwrap();
    let search = Search::open(Arc::clone(&engine), Some(folder.path()), 20 << 20).unwrap();
    let begun = Instant::now();
    runtime.spawn(Arc::clone(&search).run(std::future::pending()));
    runtime.block_on(search.caught_up());
    println!("indexed {MESSAGES} messages in {:?}", begun.elapsed());
    let followed = runtime.block_on(write(&engine, &user, &rooms, MESSAGES / 10));
    println!("a message is written in {alone:?} alone, in {followed:?} with the index behind it");
    runtime.block_on(search.caught_up());

    let stay = Stay { joined: true, since: 0, left: 0 };
    let all: HashMap<RoomNum, Stay> = rooms.iter().map(|room| (room.num, stay)).collect();
    let one = HashMap::from([(rooms[0].num, stay)]);
    let mut group = criterion.benchmark_group("search");
    for (name, text, order, scope) in [
        ("frequent word, by rank", "w0", Order::Rank, &all),
        ("frequent word, newest", "w0", Order::Recent, &all),
        ("frequent word in one room", "w0", Order::Rank, &one),
        ("two frequent words", "w0 w1", Order::Rank, &all),
        ("rare word", "w15000", Order::Rank, &all),
        ("no such word", "nothing", Order::Rank, &all),
    ] {
        let query = Query {
            text: text.to_owned(),
            keys: vec![Key::Body, Key::Name, Key::Topic],
            rooms: Arc::new(scope.clone()),
            senders: None,
            order,
            after: None,
            limit: 20,
        };
        println!("{name}: {} found", runtime.block_on(search.find(query.clone())).unwrap().count);
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(runtime.block_on(search.find(query.clone())).unwrap()));
        });
    }
    group.finish();
}

async fn futures_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut out = Vec::new();
    for one in all {
        out.push(one.await);
    }
    out
}

criterion_group!(search_benches, benches);
criterion_main!(search_benches);
