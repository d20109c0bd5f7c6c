//! The engine over the in-memory store.

mod branches;
mod entering;
mod exchange;
mod fixtures;
mod outgoing;
mod outside;
mod partial;
mod peer;
mod policy;
mod random;
mod serve;

use std::sync::Arc;

use room::SigningKey;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId, events::TimelineEventType};
use serde_json::{Value, json};
use store::{Clock, CommitterOptions, Db, Ids, ManualClock, MemoryStore, Store, open_schema};

use crate::{
    CacheSizes, Direction, Engine, EngineError, FirstEvent, HistoryPoint, Identity, Membership, NewEvent, NewRoom,
    NoProjector, Rendering, Room, TxnKey, splice::Format, state_tree,
};

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) engine: Engine,
    clock: Arc<ManualClock>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(MemoryStore::default()), Arc::new(ManualClock::new(1_000_000)))
    }

    fn over(store: Arc<MemoryStore>, clock: Arc<ManualClock>) -> Self {
        open_schema(&*store, 1, &[]).unwrap();
        let db = Db::open(Arc::clone(&store) as Arc<dyn Store>, CommitterOptions::default(), |_| {}).unwrap();
        let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
        let key = SigningKey::from_seed(&[7; 32], "k1").unwrap();
        let identity = Identity { server_name: "hs".try_into().unwrap(), key };
        let engine = Engine::new(
            db,
            ids,
            identity,
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::new(NoProjector),
            CacheSizes::default(),
        );
        Self { store, engine, clock }
    }

    /// The same data with nothing in memory.
    fn restarted(self) -> Self {
        self.engine.db.shutdown();
        Self::over(self.store, self.clock)
    }

    pub(crate) async fn user(&self, name: &str) -> (OwnedUserId, u64) {
        let id: OwnedUserId = format!("@{name}:hs").try_into().unwrap();
        let num = self.engine.user_num(&id).await.unwrap();
        (id, num)
    }

    pub(crate) async fn room(&self, creator: &str, version: RoomVersionId) -> Arc<Room> {
        let (user, num) = self.user(creator).await;
        let events = vec![
            FirstEvent::new("m.room.member", user.as_str(), r#"{"membership":"join"}"#),
            FirstEvent::new(
                "m.room.power_levels",
                "",
                if version == RoomVersionId::V12 {
                    r#"{"users":{}}"#.to_owned()
                } else {
                    json!({"users": {user.as_str(): 100}}).to_string()
                },
            ),
            FirstEvent::new("m.room.join_rules", "", r#"{"join_rule":"public"}"#),
            FirstEvent::new("m.room.history_visibility", "", r#"{"history_visibility":"shared"}"#),
        ];
        let mut create = json!({"room_version": version.as_str()});
        if !version.rules().unwrap().authorization.use_room_create_sender {
            create["creator"] = json!(user.as_str());
        }
        let new = NewRoom {
            creator: &user,
            creator_num: num,
            room_id: OwnedRoomId::try_from(format!("!r{}:hs", self.engine.unique_now())).unwrap(),
            version,
            create: create.to_string(),
            events,
            alias: None,
            public: false,
        };
        self.engine.create_room(new, None).await.unwrap().room
    }

    pub(crate) async fn send(
        &self,
        room: &Arc<Room>,
        name: &str,
        kind: &str,
        state_key: Option<&str>,
        content: Value,
    ) -> Result<String, EngineError> {
        let (user, num) = self.user(name).await;
        let content = content.to_string();
        let redacts = None;
        let event = new_event(&user, num, kind, state_key, &content, redacts);
        self.engine.send(room, event, None).await.map(|id| id.to_string())
    }

    async fn say(&self, room: &Arc<Room>, name: &str, text: &str) -> Result<String, EngineError> {
        self.send(room, name, "m.room.message", None, json!({"msgtype": "m.text", "body": text})).await
    }

    async fn member(&self, room: &Arc<Room>, by: &str, of: &str, membership: &str) -> Result<String, EngineError> {
        let of = format!("@{of}:hs");
        self.send(room, by, "m.room.member", Some(&of), json!({"membership": membership})).await
    }

    async fn shown(&self, room: &Room, name: &str) -> Vec<Value> {
        let (user, num) = self.user(name).await;
        let viewer = self.engine.viewer(room.num, &user, num).await.unwrap();
        let page = self.engine.history(room.num, HistoryPoint::START, None, 1000, Direction::Forward).await.unwrap();
        let nums: Vec<_> = page.into_iter().map(|(_, num)| num).collect();
        let events = self.engine.visible_events(room, &viewer, &nums).await.unwrap();
        let mut out = String::from("[");
        let nobody = std::collections::HashSet::new();
        let how = Rendering { format: Format::WithRoomId, device: None, bundle: Some(&nobody) };
        self.engine.render(&mut out, room, &viewer, &events, how).await.unwrap();
        out.push(']');
        serde_json::from_str(&out).unwrap()
    }

    /// The flat current state, the tree, and the tree built from the flat state agree.
    async fn assert_consistent(&self, room: &Room) {
        let mut flat = self.engine.current_state(room.num).await.unwrap();
        let mut tree = self.engine.entries_at(room.num, room.info().root).await.unwrap();
        flat.sort();
        tree.sort();
        assert_eq!(flat, tree);
        let rebuilt = state_tree::build(
            flat.into_iter().map(|(kind, key, num)| (state_tree::Key::new(kind.as_str(), key.as_str()), num)),
        );
        assert_eq!(rebuilt.unwrap().root, room.info().root);
        assert_eq!(self.engine.root_at(room.num, self.engine.frontier()).await.unwrap(), room.info().root);
    }
}

fn new_event<'a>(
    sender: &'a UserId,
    sender_num: u64,
    kind: &str,
    state_key: Option<&'a str>,
    content: &'a str,
    redacts: Option<&'a ruma::EventId>,
) -> NewEvent<'a> {
    NewEvent {
        sender,
        sender_num,
        event_type: TimelineEventType::from(kind),
        state_key,
        content,
        redacts,
        origin_server_ts: None,
        device: Some("DEV"),
        txn_id: Some("t1"),
    }
}

fn bodies(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

#[tokio::test]
async fn a_room_of_every_version_lives_through_a_restart() {
    for version in ["3", "4", "5", "6", "7", "8", "9", "10", "11", "12"] {
        let world = World::new();
        let room = world.room("ann", RoomVersionId::try_from(version).unwrap()).await;
        world.say(&room, "ann", "one").await.unwrap();
        assert!(matches!(world.say(&room, "ben", "no").await, Err(EngineError::Forbidden(_))));
        world.member(&room, "ben", "ben", "join").await.unwrap();
        world.say(&room, "ben", "two").await.unwrap();
        world.assert_consistent(&room).await;
        let before = world.shown(&room, "ben").await;
        assert_eq!(bodies(&before), ["one", "two"], "version {version}");
        let id = room.id.clone();
        drop(room);

        let world = world.restarted();
        let room = world.engine.room(&id).await.unwrap();
        assert_eq!((room.info().joined, room.info().local_members.len()), (2, 2));
        assert_eq!(world.shown(&room, "ben").await, before);
        world.say(&room, "ben", "three").await.unwrap();
        assert_eq!(bodies(&world.shown(&room, "ann").await), ["one", "two", "three"]);
        world.assert_consistent(&room).await;
    }
}

#[tokio::test]
async fn many_writers_make_one_chain() {
    let world = World::new();
    let room = world.room("ann", RoomVersionId::V11).await;
    let sends = (0..200).map(|n| {
        let (world, room) = (&world, &room);
        async move { world.say(room, "ann", &n.to_string()).await.unwrap() }
    });
    let ids = futures::future::join_all(sends).await;
    let shown = world.shown(&room, "ann").await;
    let shown: Vec<_> = shown.iter().filter(|event| event["type"] == "m.room.message").collect();
    assert_eq!(shown.len(), 200);
    assert!(ids.iter().all(|id| shown.iter().filter(|event| event["event_id"] == id.as_str()).count() == 1));
    let head = room.writer.lock().await;
    assert_eq!(head.as_ref().unwrap().row.extremities.len(), 1);
}

#[tokio::test]
async fn the_same_transaction_is_one_event_also_after_a_restart() {
    let world = World::new();
    let room = world.room("ann", RoomVersionId::V12).await;
    let (ann, num) = world.user("ann").await;
    let content = r#"{"body":"x"}"#;
    let txn = TxnKey { user: num, device: "DEV", path: "/send/t1" };
    let send = || world.engine.send(&room, new_event(&ann, num, "m.room.message", None, content, None), Some(txn));
    let (first, second) = futures::join!(send(), send());
    let first = first.unwrap();
    assert_eq!(first, second.unwrap());
    let other = TxnKey { device: "OTHER", ..txn };
    let event = new_event(&ann, num, "m.room.message", None, content, None);
    assert_ne!(first, world.engine.send(&room, event, Some(other)).await.unwrap());
    let id = room.id.clone();
    drop(room);
    let world = world.restarted();
    let room = world.engine.room(&id).await.unwrap();
    let event = new_event(&ann, num, "m.room.message", None, content, None);
    assert_eq!(first, world.engine.send(&room, event, Some(txn)).await.unwrap());
}

#[tokio::test]
async fn a_redaction_empties_its_target_and_says_so() {
    for version in [RoomVersionId::V10, RoomVersionId::V11] {
        let world = World::new();
        let room = world.room("ann", version.clone()).await;
        world.member(&room, "ben", "ben", "join").await.unwrap();
        let target = world.say(&room, "ann", "secret").await.unwrap();
        let target = ruma::EventId::parse(target).unwrap();
        let (ben, ben_num) = world.user("ben").await;
        let redact = |user, num| {
            let event = new_event(user, num, "m.room.redaction", None, r#"{"reason":"oops"}"#, Some(&target));
            world.engine.send(&room, event, None)
        };
        assert!(matches!(redact(&ben, ben_num).await, Err(EngineError::Forbidden(_))));
        assert_eq!(bodies(&world.shown(&room, "ben").await), ["secret"]);
        let (ann, ann_num) = world.user("ann").await;
        redact(&ann, ann_num).await.unwrap();
        let shown = world.shown(&room, "ben").await;
        let emptied = shown.iter().find(|event| event["event_id"] == target.as_str()).unwrap();
        assert_eq!(emptied["content"], json!({}));
        assert_eq!(emptied["unsigned"]["redacted_because"]["redacts"], target.as_str());
        assert_eq!(emptied["unsigned"]["redacted_because"]["content"]["redacts"], target.as_str());
        assert!(bodies(&shown).is_empty());
    }
}

#[tokio::test]
async fn who_left_sees_what_was_before_and_who_comes_later_sees_shared_history() {
    let world = World::new();
    let room = world.room("ann", RoomVersionId::V11).await;
    world.member(&room, "ben", "ben", "join").await.unwrap();
    world.say(&room, "ann", "together").await.unwrap();
    world.member(&room, "ben", "ben", "leave").await.unwrap();
    world.say(&room, "ann", "alone").await.unwrap();
    assert_eq!(bodies(&world.shown(&room, "ben").await), ["together"]);
    world.member(&room, "ann", "cat", "invite").await.unwrap();
    assert!(bodies(&world.shown(&room, "cat").await).is_empty());
    world.member(&room, "cat", "cat", "join").await.unwrap();
    assert_eq!(bodies(&world.shown(&room, "cat").await), ["together", "alone"]);
    world
        .send(&room, "ann", "m.room.history_visibility", Some(""), json!({"history_visibility": "joined"}))
        .await
        .unwrap();
    world.say(&room, "ann", "hidden").await.unwrap();
    world.member(&room, "ben", "ben", "join").await.unwrap();
    world.say(&room, "ann", "open").await.unwrap();
    assert_eq!(bodies(&world.shown(&room, "ben").await), ["together", "alone", "open"]);
    let (_, ben) = world.user("ben").await;
    let place = world.engine.user_rooms().get(ben, room.num).await.unwrap().unwrap();
    assert_eq!((place.membership, place.before), (Membership::Join, Membership::Leave));
    world.assert_consistent(&room).await;
}

#[tokio::test]
async fn bad_events_are_refused_whole() {
    let world = World::new();
    let room = world.room("ann", RoomVersionId::V11).await;
    let refused = |result: Result<String, EngineError>| match result.unwrap_err() {
        EngineError::TooLarge(_) => "large",
        EngineError::BadEvent(_) => "bad",
        EngineError::Forbidden(_) => "forbidden",
        other => panic!("{other}"),
    };
    let big = "x".repeat(66_000);
    assert_eq!(refused(world.say(&room, "ann", &big).await), "large");
    assert_eq!(refused(world.send(&room, "ann", "m.x", None, json!({"n": 1.5})).await), "bad");
    assert_eq!(refused(world.send(&room, "ann", "m.x", Some(&"k".repeat(300)), json!({})).await), "large");
    assert_eq!(refused(world.send(&room, "ann", "m.room.create", Some(""), json!({})).await), "forbidden");
    world.say(&room, "ann", "fine").await.unwrap();
    world.assert_consistent(&room).await;
}

#[tokio::test]
async fn identical_rooms_made_at_once_are_different_rooms() {
    let world = World::new();
    let rooms = futures::join!(world.room("ann", RoomVersionId::V12), world.room("ann", RoomVersionId::V12));
    assert_ne!(rooms.0.id, rooms.1.id);
    assert!(world.engine.room(<&RoomId>::try_from("!none:hs").unwrap()).await.is_err());
}
