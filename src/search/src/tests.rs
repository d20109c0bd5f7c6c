//! The index over an engine on the in-memory store, as it is started, stopped, killed and deleted.

use std::{collections::HashMap, path::Path, sync::Arc};

use engine::{CacheSizes, Engine, FirstEvent, Identity, NewEvent, NewRoom, NoProjector, Room, RoomNum};
use room::SigningKey;
use ruma::{EventId, OwnedRoomId, OwnedUserId, RoomVersionId, events::TimelineEventType};
use serde_json::{Value, json};
use store::{Clock, CommitterOptions, Db, Ids, ManualClock, MemoryStore, Store, open_schema};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{Key, Order, Place, Query, Search, Stay};

pub(crate) struct World {
    engine: Arc<Engine>,
    clock: Arc<ManualClock>,
    rooms: u32,
}

/// An index that is kept up to date.
struct Running {
    search: Arc<Search>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// As when the server ends in order.
    async fn stopped(self) {
        let Self { stop, task, .. } = self;
        stop.send(()).unwrap();
        task.await.unwrap();
    }

    /// As when it is killed: nothing is committed, and the lock of its folder is gone.
    async fn killed(self) {
        let Self { search, task, .. } = self;
        task.abort();
        let _ = task.await;
        assert_eq!(Arc::strong_count(&search), 1);
    }

    async fn found(&self, world: &World, text: &str) -> Vec<String> {
        self.ordered(world, text, Order::Recent).await
    }

    async fn ordered(&self, world: &World, text: &str, order: Order) -> Vec<String> {
        let found = self.search.find(world.query(text, order).await).await.unwrap();
        assert_eq!(found.count, found.hits.len() as u64);
        let mut ids = Vec::new();
        for hit in found.hits {
            ids.push(world.engine.event(hit.room, hit.num).await.unwrap().event_id().to_owned());
        }
        ids
    }
}

impl World {
    fn new() -> Self {
        let store = MemoryStore::default();
        open_schema(&store, 1, &[]).unwrap();
        let db = Db::open(Arc::new(store) as Arc<dyn Store>, CommitterOptions::default(), |_| {}).unwrap();
        let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
        let clock = Arc::new(ManualClock::new(1_000_000));
        let key = SigningKey::from_seed(&[7; 32], "k1").unwrap();
        let identity = Identity { server_name: "hs".try_into().unwrap(), key };
        let shared = Arc::clone(&clock) as Arc<dyn Clock>;
        let engine = Engine::new(db, ids, identity, shared, Arc::new(NoProjector), CacheSizes::default());
        Self { engine: Arc::new(engine), clock, rooms: 0 }
    }

    fn start(&self, folder: Option<&Path>) -> Running {
        let search = Search::open(Arc::clone(&self.engine), folder, 0).unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(Arc::clone(&search).run(async move { drop(stopped.await) }));
        Running { search, stop, task }
    }

    async fn room(&mut self) -> Arc<Room> {
        self.rooms += 1;
        let creator: OwnedUserId = "@alice:hs".try_into().unwrap();
        let new = NewRoom {
            creator: &creator,
            creator_num: self.engine.user_num(&creator).await.unwrap(),
            version: RoomVersionId::V11,
            create: json!({"room_version": "11"}).to_string(),
            room_id: OwnedRoomId::try_from(format!("!r{}:hs", self.rooms)).unwrap(),
            events: vec![
                FirstEvent::new("m.room.member", creator.as_str(), r#"{"membership":"join"}"#),
                FirstEvent::new("m.room.power_levels", "", json!({"users": {creator.as_str(): 100}}).to_string()),
            ],
            alias: None,
            public: false,
        };
        self.engine.create_room(new, None).await.unwrap().room
    }

    async fn send(&self, room: &Arc<Room>, kind: &str, key: Option<&str>, content: Value, of: Option<&str>) -> String {
        self.clock.advance(1);
        let sender: OwnedUserId = "@alice:hs".try_into().unwrap();
        let content = content.to_string();
        let new = NewEvent {
            sender: &sender,
            sender_num: self.engine.user_num(&sender).await.unwrap(),
            event_type: TimelineEventType::from(kind),
            state_key: key,
            content: &content,
            redacts: of.map(|id| <&EventId>::try_from(id).unwrap()),
            origin_server_ts: None,
            device: None,
            txn_id: None,
        };
        self.engine.send(room, new, None).await.unwrap().to_string()
    }

    async fn say(&self, room: &Arc<Room>, text: &str) -> String {
        self.send(room, "m.room.message", None, json!({"msgtype": "m.text", "body": text}), None).await
    }

    async fn redact(&self, room: &Arc<Room>, id: &str) {
        self.send(room, "m.room.redaction", None, json!({"redacts": id}), Some(id)).await;
    }

    async fn query(&self, text: &str, order: Order) -> Query {
        let alice = self.engine.user_num("@alice:hs".try_into().unwrap()).await.unwrap();
        let rooms = self.engine.user_rooms().of(alice).await.unwrap();
        let stay = |since| Stay { joined: true, since, left: 0 };
        let rooms: HashMap<RoomNum, Stay> = rooms.iter().map(|(num, place)| (*num, stay(place.since))).collect();
        let keys = vec![Key::Body, Key::Name, Key::Topic];
        Query { text: text.to_owned(), keys, rooms: Arc::new(rooms), senders: None, order, after: None, limit: 100 }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_found_at_once() {
    let mut world = World::new();
    let running = world.start(None);
    let room = world.room().await;
    for n in 0..20 {
        let id = world.say(&room, &format!("number {n} of many")).await;
        assert_eq!(running.found(&world, &format!("NUMBER {n}")).await, [id]);
    }
    let name = world.send(&room, "m.room.name", Some(""), json!({"name": "Números"}), None).await;
    let topic = world.send(&room, "m.room.topic", Some(""), json!({"topic": "all numeros"}), None).await;
    assert_eq!(running.found(&world, "numeros").await, [topic, name]);
    assert!(running.found(&world, "number 20").await.is_empty());
    assert!(running.found(&world, "…").await.is_empty());
    running.stopped().await;
}

#[tokio::test]
async fn what_landed_before_is_found() {
    let mut world = World::new();
    let (one, two) = (world.room().await, world.room().await);
    let mut ids = Vec::new();
    for n in 0..1200 {
        let room = if n % 3 == 0 { &two } else { &one };
        ids.push(world.say(room, if n % 100 == 0 { "a needle" } else { "some hay" }).await);
    }
    let running = world.start(None);
    running.search.caught_up().await;
    let needles: Vec<String> = ids.iter().step_by(100).rev().cloned().collect();
    assert_eq!(running.found(&world, "needle").await, needles);
    running.stopped().await;
}

#[tokio::test]
async fn pages_follow_each_other_in_either_order() {
    let mut world = World::new();
    let running = world.start(None);
    let room = world.room().await;
    for n in 0..25 {
        world.say(&room, &format!("word {}", "word ".repeat(n % 5))).await;
    }
    for order in [Order::Rank, Order::Recent] {
        let whole = running.search.find(world.query("word", order).await).await.unwrap();
        let (mut pages, mut after): (Vec<_>, Option<Place>) = (Vec::new(), None);
        loop {
            let query = Query { after, limit: 7, ..world.query("word", order).await };
            let found = running.search.find(query).await.unwrap();
            assert_eq!(found.count, 25, "on every page");
            let Some(last) = found.hits.last() else { break };
            after = Some(last.place);
            pages.extend(found.hits);
            // What is new meanwhile changes nothing of the pages that follow.
            world.say(&room, "other things").await;
        }
        assert_eq!(pages, whole.hits);
        assert_eq!(pages.len(), 25);
    }
    let ranks: Vec<f32> = running
        .search
        .find(world.query("word", Order::Rank).await)
        .await
        .unwrap()
        .hits
        .iter()
        .map(|hit| hit.rank)
        .collect();
    assert!(ranks.is_sorted_by(|one, other| one >= other) && ranks[0] > ranks[24]);
    running.stopped().await;
}

#[tokio::test]
async fn ranks_tell_nothing_of_other_rooms() {
    let mut world = World::new();
    let running = world.start(None);
    let room = world.room().await;
    world.say(&room, "a rare word").await;
    let rank = async |running: &Running, world: &World| {
        running.search.find(world.query("rare", Order::Rank).await).await.unwrap().hits[0].rank
    };
    let before = rank(&running, &world).await;
    for n in 0..50 {
        world.say(&room, &format!("rare things {n}")).await;
    }
    let after = running.search.find(world.query("rare word", Order::Rank).await).await.unwrap().hits;
    assert_eq!(after.len(), 1);
    let all = running.search.find(world.query("rare", Order::Recent).await).await.unwrap().hits;
    assert_eq!(all.last().unwrap().rank, before, "however often others use it");
    running.stopped().await;
}

#[tokio::test]
async fn after_a_crash_nothing_is_missing_and_nothing_is_there_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let room = world.room().await;
    let mut ids: Vec<String> = Vec::new();
    for run in 0..4 {
        let running = world.start(Some(folder.path()));
        for n in 0..20 {
            ids.push(world.say(&room, &format!("again {run} {n}")).await);
            if n == 10 {
                // Committed up to here.
                running.search.caught_up().await;
                assert_eq!(running.found(&world, "again").await.len(), ids.len());
            }
        }
        if run == 2 {
            running.stopped().await
        } else {
            running.killed().await
        }
        ids.push(world.say(&room, "again, while nobody looked").await);
    }
    let running = world.start(Some(folder.path()));
    running.search.caught_up().await;
    ids.reverse();
    assert_eq!(running.found(&world, "again").await, ids);
    assert_eq!(running.search.reader.searcher().num_docs(), ids.len() as u64);
    running.stopped().await;
}

#[tokio::test]
async fn what_was_redacted_is_gone_whenever_that_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let room = world.room().await;
    let running = world.start(Some(folder.path()));
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(world.say(&room, &format!("secret {n}")).await);
    }
    world.redact(&room, &ids[0]).await;
    assert_eq!(running.found(&world, "secret").await.len(), 3);
    world.redact(&room, &ids[1]).await;
    assert_eq!(running.found(&world, "secret").await, [&*ids[3], &*ids[2]]);
    running.stopped().await;
    world.redact(&room, &ids[2]).await;
    let running = world.start(Some(folder.path()));
    running.search.caught_up().await;
    assert_eq!(running.found(&world, "secret").await, [&*ids[3]]);
    assert_eq!(running.search.reader.searcher().num_docs(), 1);
    running.stopped().await;
}

#[tokio::test]
async fn an_index_that_cannot_be_used_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("search");
    let mut world = World::new();
    let room = world.room().await;
    let id = world.say(&room, "still there").await;
    let harm: [fn(&Path); 4] = [
        |_| {},
        |at| std::fs::remove_dir_all(at).unwrap(),
        |at| std::fs::write(at.join("meta.json"), "{}").unwrap(),
        |at| {
            let segment = std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path());
            segment.filter(|path| path.extension().is_some_and(|end| end == "fast")).for_each(|path| {
                std::fs::remove_file(path).unwrap();
            });
        },
    ];
    for harm in harm {
        let running = world.start(Some(&at));
        running.search.caught_up().await;
        assert_eq!(running.found(&world, "still").await, [&*id]);
        running.stopped().await;
        harm(&at);
    }
    let running = world.start(Some(&at));
    running.search.caught_up().await;
    assert_eq!(running.found(&world, "still").await, [&*id]);
    running.stopped().await;

    // As where an older store was put back: what the index has is of a time that never was.
    let mut other = World::new();
    let room = other.room().await;
    let running = other.start(Some(&at));
    running.search.caught_up().await;
    assert!(running.found(&other, "still").await.is_empty());
    let id = other.say(&room, "still another").await;
    assert_eq!(running.found(&other, "still").await, [id]);
    running.stopped().await;
}

#[tokio::test]
async fn more_than_can_be_followed_is_found_by_looking_through_all_rooms() {
    let mut world = World::new();
    let room = world.room().await;
    let search = Search::open(Arc::clone(&world.engine), None, 0).unwrap();
    let mut ids = vec![world.say(&room, "early bird").await];
    search.feed.forget();
    ids.push(world.say(&room, "late bird").await);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(Arc::clone(&search).run(async move { drop(stopped.await) }));
    let running = Running { search, stop, task };
    running.search.caught_up().await;
    ids.reverse();
    assert_eq!(running.found(&world, "bird").await, ids);
    running.stopped().await;
}
