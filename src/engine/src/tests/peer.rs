//! Servers that share a room: each with its own name, key and store; what one makes the other checks as if it came by wire.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use room::{
    EventDraft, Pdu, RoomVersionRules, SigningKey,
    auth::auth_types,
    build::{LegacyIds, sign},
    check::{ReceivedEvent, check_received},
};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, RoomVersionId, UInt, UserId,
    events::TimelineEventType,
};
use serde_json::{Value, json, value::to_raw_value};
use store::{Clock, CommitterOptions, Db, Ids, ManualClock, MemoryStore, Store, open_schema};

use super::new_event;
use crate::{
    CacheSizes, Engine, EngineError, FirstEvent, Identity, Membership, NewRoom, NoProjector, Received, Room, Verdict,
    engine::parse, row::EventRow, tables::EVENTS,
};

pub(super) const ALICE: &str = "@alice:one";
pub(super) const BOB: &str = "@bob:two";
pub(super) const CAROL: &str = "@carol:two";

pub(super) type State = BTreeMap<(String, String), String>;

fn key_of(server: &str) -> SigningKey {
    let mut seed = [7; 32];
    seed.iter_mut().zip(server.bytes()).for_each(|(to, from)| *to = from);
    SigningKey::from_seed(&seed, "k1").unwrap()
}

pub(super) struct Peer {
    pub(super) engine: Engine,
    pub(super) clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
}

impl Peer {
    pub(super) fn new(server: &str) -> Self {
        Self::over(server, Arc::new(MemoryStore::default()), 1_000_000)
    }

    fn over(server: &str, store: Arc<MemoryStore>, now: u64) -> Self {
        open_schema(&*store, 1, &[]).unwrap();
        let db = Db::open(Arc::clone(&store) as Arc<dyn Store>, CommitterOptions::default(), |_| {}).unwrap();
        let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
        let clock = Arc::new(ManualClock::new(now));
        let identity = Identity { server_name: server.try_into().unwrap(), key: key_of(server) };
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let engine = Engine::new(db, ids, identity, time, Arc::new(NoProjector), CacheSizes::default());
        Self { engine, clock, store }
    }

    /// The same data with nothing in memory.
    pub(super) fn restarted(self) -> Self {
        let server = self.engine.identity.server_name.to_string();
        self.engine.db.shutdown();
        Self::over(&server, self.store, self.clock.now_ms())
    }

    /// A room of Alice's, open to all, where Bob has half of her power.
    pub(super) async fn create(&self, version: &RoomVersionId) -> Arc<Room> {
        self.create_as(version, ALICE, "!shared:one").await
    }

    /// The same by somebody else.
    pub(super) async fn create_as(&self, version: &RoomVersionId, creator_id: &str, room_id: &str) -> Arc<Room> {
        let creator = <&UserId>::try_from(creator_id).unwrap();
        let infinite = version.rules().unwrap().authorization.explicitly_privilege_room_creators;
        let levels = if infinite { json!({"users": {BOB: 50}}) } else { json!({"users": {creator_id: 100, BOB: 50}}) };
        let mut create = json!({"room_version": version.as_str()});
        if !version.rules().unwrap().authorization.use_room_create_sender {
            create["creator"] = json!(creator_id);
        }
        let new = NewRoom {
            creator,
            creator_num: self.engine.user_num(creator).await.unwrap(),
            room_id: OwnedRoomId::try_from(room_id).unwrap(),
            version: version.clone(),
            create: create.to_string(),
            events: vec![
                FirstEvent::new("m.room.member", creator_id, r#"{"membership":"join"}"#),
                FirstEvent::new("m.room.power_levels", "", levels.to_string()),
                FirstEvent::new("m.room.join_rules", "", r#"{"join_rule":"public"}"#),
                FirstEvent::new("m.room.history_visibility", "", r#"{"history_visibility":"shared"}"#),
            ],
            alias: None,
            public: false,
        };
        self.engine.create_room(new, None).await.unwrap().room
    }

    pub(super) async fn send(
        &self,
        room: &Arc<Room>,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: Value,
    ) -> Result<OwnedEventId, EngineError> {
        self.clock.advance(1);
        let user = <&UserId>::try_from(sender).unwrap();
        assert!(self.engine.is_local(user));
        let num = self.engine.user_num(user).await.unwrap();
        let content = content.to_string();
        self.engine.send(room, new_event(user, num, kind, state_key, &content, None), None).await
    }

    pub(super) async fn say(&self, room: &Arc<Room>, sender: &str, text: &str) -> OwnedEventId {
        self.send(room, sender, "m.room.message", None, json!({"body": text})).await.unwrap()
    }

    pub(super) async fn topic(&self, room: &Arc<Room>, sender: &str, text: &str) -> OwnedEventId {
        self.send(room, sender, "m.room.topic", Some(""), json!({"topic": text})).await.unwrap()
    }

    pub(super) async fn member(&self, room: &Arc<Room>, by: &str, of: &str, membership: &str) -> OwnedEventId {
        self.send(room, by, "m.room.member", Some(of), json!({"membership": membership})).await.unwrap()
    }

    /// Every event of the room, in the order in which this server got them.
    pub(super) async fn log(&self, room: &Room) -> Vec<(EventRow, Pdu)> {
        let rows = self.engine.db.scan_all(&EVENTS, &room.num).await.unwrap();
        rows.into_iter().map(|(_, row)| (row.clone(), parse(&row, room).unwrap())).collect()
    }

    pub(super) async fn row(&self, room: &Room, id: &EventId) -> EventRow {
        let num = self.engine.find_event(room.num, id.as_str()).await.unwrap().unwrap();
        self.engine.event(room.num, num).await.unwrap()
    }

    /// An event as it goes over the wire, checked as on arrival.
    pub(super) async fn wire(&self, room: &Room, id: &EventId) -> ReceivedEvent {
        arrived(self.row(room, id).await.json(), &room.rules)
    }

    /// Gives another server an event.
    pub(super) async fn give(&self, room: &Room, id: &EventId, to: (&Self, &Arc<Room>)) -> Received {
        to.0.engine.receive(to.1, self.wire(room, id).await).await.unwrap()
    }

    /// The same, where it does not matter what becomes of it.
    pub(super) async fn pass(&self, room: &Room, id: &EventId, to: (&Self, &Arc<Room>)) {
        let received = self.give(room, id, to).await;
        assert!(!matches!(received, Received::Missing(_)), "{received:?}");
    }

    /// Gives another server everything that it does not have.
    pub(super) async fn give_all(&self, room: &Room, to: (&Self, &Arc<Room>)) {
        for (_, pdu) in self.log(room).await {
            self.pass(room, &pdu.event_id, to).await;
        }
    }

    /// Takes part in a room of another server: gets all there is.
    pub(super) async fn join(&self, other: &Self, room: &Room) -> Arc<Room> {
        let log = other.log(room).await;
        let (create, _) = &log[0];
        let own = self.engine.receive_create(arrived(create.json(), &room.rules)).await.unwrap();
        other.give_all(room, (self, &own)).await;
        own
    }

    /// Signs an event as any user of this server, anywhere in the graph, allowed or not.
    pub(super) async fn forge(
        &self,
        room: &Room,
        prev: &[&EventId],
        event: (&str, &str, Option<&str>),
        content: Value,
        redacts: Option<&EventId>,
    ) -> ReceivedEvent {
        self.sign_in((self, room), prev, event, content, (redacts, None)).await
    }

    /// The same in a room that another server knows.
    pub(super) async fn sign_at(
        &self,
        host: (&Self, &Room),
        prev: &[&EventId],
        event: (&str, &str, Option<&str>),
        content: Value,
    ) -> ReceivedEvent {
        self.sign_in(host, prev, event, content, (None, None)).await
    }

    /// The same, citing a membership that the state does not have.
    pub(super) async fn sign_citing(
        &self,
        host: (&Self, &Room),
        prev: &EventId,
        event: (&str, &str, Option<&str>),
        content: Value,
        membership: &EventId,
    ) -> ReceivedEvent {
        self.sign_in(host, &[prev], event, content, (None, Some(membership))).await
    }

    async fn sign_in(
        &self,
        (host, room): (&Self, &Room),
        prev: &[&EventId],
        (sender, kind, state_key): (&str, &str, Option<&str>),
        content: Value,
        (redacts, cites): (Option<&EventId>, Option<&EventId>),
    ) -> ReceivedEvent {
        self.clock.advance(1);
        let user = <&UserId>::try_from(sender).unwrap();
        let raw = to_raw_value(&content).unwrap();
        let event_type = TimelineEventType::from(kind);
        let before = host.row(room, prev[0]).await;
        let num = host.engine.find_event(room.num, prev[0].as_str()).await.unwrap().unwrap();
        let after = match before.verdict() {
            Verdict::Accepted => host.engine.entries_after(room.num, num, &before).await.unwrap(),
            _ => host.engine.entries_at(room.num, before.state_before()).await.unwrap(),
        };
        let mut auth_events = Vec::new();
        for (kind, key) in auth_types(&event_type, user, state_key, &raw, &room.rules.authorization).unwrap() {
            let found = after.iter().find(|(k, s, _)| *k == kind.to_string() && *s == key);
            if let Some((_, _, num)) = found {
                let row = host.engine.event(room.num, *num).await.unwrap();
                auth_events.push(OwnedEventId::try_from(row.event_id()).unwrap());
            }
        }
        auth_events.extend(cites.map(ToOwned::to_owned));
        let prev_events: Vec<OwnedEventId> = prev.iter().map(|id| (*id).to_owned()).collect();
        let named = room.rules.event_format.require_event_id;
        let event_id = EventId::parse(format!("$f{}:{}", self.clock.now_ms(), user.server_name())).unwrap();
        let mut hashes = HashMap::new();
        for id in prev_events.iter().chain(&auth_events) {
            hashes.insert(id.clone(), host.wire(room, id).await.reference_hash);
        }
        let draft = EventDraft {
            room_id: Some(&room.id),
            sender: user,
            event_type: &event_type,
            state_key,
            content: raw.get(),
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.clock.now_ms())),
            depth: u64::try_from(before.depth()).unwrap() + 1,
            prev_events: &prev_events,
            auth_events: &auth_events,
            redacts,
            legacy: named.then_some(LegacyIds { event_id: &event_id, hashes: &hashes }),
        };
        let identity = &self.engine.identity;
        arrived(&sign(&draft, &room.rules, &identity.server_name, &identity.key).unwrap().json, &room.rules)
    }

    pub(super) async fn state(&self, room: &Room) -> State {
        let mut state = State::new();
        for (kind, key, num) in self.engine.current_state(room.num).await.unwrap() {
            let row = self.engine.event(room.num, num).await.unwrap();
            state.insert((kind, key), row.event_id().to_owned());
        }
        state
    }

    pub(super) async fn ends(&self, room: &Room) -> BTreeSet<OwnedEventId> {
        let head = room.writer.lock().await;
        head.as_ref().unwrap().row.extremities.iter().map(|end| end.event_id.clone()).collect()
    }

    pub(super) async fn membership(&self, room: &Room, of: &str) -> Membership {
        self.engine.membership(room.num, of).await.unwrap().unwrap_or(Membership::Leave)
    }

    pub(super) async fn place(&self, room: &Room, of: &str) -> Option<Membership> {
        let num = self.engine.user_num(<&UserId>::try_from(of).unwrap()).await.unwrap();
        self.engine.user_rooms().get(num, room.num).await.unwrap().map(|place| place.membership)
    }

    /// All rows of the room are what its events say, in memory as in the store.
    pub(super) async fn assert_sound(&self, room: &Room) {
        let report = self.engine.check_room(room.num).await.unwrap();
        assert_eq!(report.findings, Vec::<String>::new());
        let members = self.engine.members(room.num).await.unwrap();
        let count = |membership| members.iter().filter(|member| member.membership == membership).count() as u64;
        let info = room.info();
        assert_eq!((info.joined, info.invited), (count(Membership::Join), count(Membership::Invite)));
        let local = members.iter().filter(|member| {
            member.membership == Membership::Join
                && self.engine.is_local(<&UserId>::try_from(&*member.user_id).unwrap())
        });
        assert_eq!(info.local_members.len(), local.count());
        let own = self.engine.identity.server_name.as_str();
        let joined = members.iter().filter(|member| member.membership == Membership::Join);
        let servers: BTreeSet<&str> = joined.map(|member| member.user_id.split_once(':').unwrap().1).collect();
        let others: Vec<_> = servers.into_iter().filter(|server| *server != own).collect();
        assert_eq!(self.engine.servers(room).await.unwrap(), others);
        assert_eq!(self.engine.root_at(room.num, self.engine.frontier()).await.unwrap(), info.root);
    }
}

/// Both servers see the same room.
pub(super) async fn assert_same(one: (&Peer, &Room), two: (&Peer, &Room)) {
    assert_eq!(one.0.state(one.1).await, two.0.state(two.1).await);
    assert_eq!(one.0.ends(one.1).await, two.0.ends(two.1).await);
    one.0.assert_sound(one.1).await;
    two.0.assert_sound(two.1).await;
}

pub(super) fn arrived(json: &str, rules: &RoomVersionRules) -> ReceivedEvent {
    check_received(json, rules, |server, key_id, _| {
        assert_eq!(key_id, "ed25519:k1");
        Some(key_of(server.as_str()).public_key())
    })
    .unwrap()
}

pub(super) fn verdict(received: &Received) -> Verdict {
    match received {
        Received::Stored { verdict, .. } => *verdict,
        other => panic!("{other:?}"),
    }
}
