//! A room of any size on one server, and events of its other servers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use engine::{CacheSizes, Engine, Identity, NoProjector, Received, RemoteRoom, Room, Verdict};
use room::{EventDraft, RoomVersionRules, SigningKey, auth::auth_types, build, check::ReceivedEvent};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, UInt, UserId,
    events::TimelineEventType,
};
use serde_json::{Value, json, value::to_raw_value};
use store::{CommitterOptions, Db, Ids, ManualClock, Store, open_schema};

use super::counted::CountedStore;

/// Created the room.
pub const OWNER: &str = "@owner:s0.example";
/// Half of the owner's power.
pub const MODERATOR: &str = "@moderator:s1.example";
/// Ours.
const GUEST: &str = "@guest:here.example";

type Slots = BTreeMap<(String, String), OwnedEventId>;

/// The name of the n-th member.
pub fn member(n: usize) -> String {
    format!("@member{n:06}:s{}.example", n % 20)
}

/// What the other servers of a room write: real events, signed with one key.
pub struct Author {
    pub version: RoomVersionId,
    rules: RoomVersionRules,
    room_id: Option<OwnedRoomId>,
    key: SigningKey,
    hashes: HashMap<OwnedEventId, String>,
    /// The state at the end of what it wrote.
    pub state: Slots,
    pub end: Option<OwnedEventId>,
    clock: u64,
}

impl Author {
    fn new(version: &RoomVersionId) -> Self {
        let rules = version.rules().unwrap();
        let nameless = rules.authorization.room_create_event_id_as_room_id;
        Self {
            version: version.clone(),
            rules,
            room_id: (!nameless).then(|| RoomId::parse("!big:s0.example").unwrap()),
            key: SigningKey::from_seed(&[7; 32], "k").unwrap(),
            hashes: HashMap::new(),
            state: Slots::new(),
            end: None,
            clock: 1_000_000,
        }
    }

    /// An event that follows others in some state.
    pub fn write(
        &mut self,
        prev: &[OwnedEventId],
        state: &Slots,
        (sender, kind, state_key): (&str, &str, Option<&str>),
        content: &Value,
    ) -> ReceivedEvent {
        self.clock += 1;
        let sender = <&UserId>::try_from(sender).unwrap();
        let event_type = TimelineEventType::from(kind);
        let content = to_raw_value(content).unwrap();
        let wanted = auth_types(&event_type, sender, state_key, &content, &self.rules.authorization).unwrap();
        let cited = wanted.iter().filter_map(|(kind, key)| state.get(&(kind.to_string(), key.clone())).cloned());
        let auth_events: Vec<OwnedEventId> = cited.collect();
        let own_id = EventId::parse(format!("${}:{}", self.clock, sender.server_name())).unwrap();
        let draft = EventDraft {
            room_id: self.room_id.as_deref(),
            sender,
            event_type: &event_type,
            state_key,
            content: content.get(),
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new(self.clock).unwrap()),
            depth: self.clock,
            prev_events: prev,
            auth_events: &auth_events,
            redacts: None,
            legacy: Some(build::LegacyIds { event_id: &own_id, hashes: &self.hashes }),
        };
        let signed = build::sign(&draft, &self.rules, sender.server_name(), &self.key).unwrap();
        self.hashes.insert(signed.pdu.event_id.clone(), signed.reference_hash.clone());
        let build::SignedEvent { json, pdu, reference_hash } = signed;
        ReceivedEvent { json, pdu, redacted: false, reference_hash }
    }

    /// An event at the end, which changes the state.
    fn next(&mut self, event: (&str, &str, Option<&str>), content: &Value) -> ReceivedEvent {
        let (prev, state): (Vec<_>, Slots) = (self.end.iter().cloned().collect(), self.state.clone());
        let written = self.write(&prev, &state, event, content);
        self.follow(&written);
        written
    }

    fn follow(&mut self, event: &ReceivedEvent) {
        if let Some(key) = &event.pdu.state_key {
            self.state.insert((event.pdu.event_type.to_string(), key.clone()), event.pdu.event_id.clone());
        }
        self.room_id = Some(event.pdu.room_id.clone());
        self.end = Some(event.pdu.event_id.clone());
    }

    /// The power levels, somebody's being this one.
    pub fn levels(&self, who: &str, level: i64) -> Value {
        let mut users = json!({MODERATOR: 50});
        if !self.rules.authorization.explicitly_privilege_room_creators {
            users[OWNER] = json!(100);
        }
        users[who] = json!(level);
        json!({"users": users})
    }

    /// Everything up to `members` members, of whom every second was invited by an earlier one: the events, and which of them are no
    /// state any more.
    fn found(&mut self, members: usize) -> (Vec<ReceivedEvent>, Vec<ReceivedEvent>) {
        let join = json!({"membership": "join"});
        let mut create = json!({"room_version": self.version.as_str()});
        if !self.rules.authorization.use_room_create_sender {
            create["creator"] = json!(OWNER);
        }
        let levels = self.levels(MODERATOR, 50);
        let mut state = vec![self.next((OWNER, "m.room.create", Some("")), &create)];
        state.push(self.next((OWNER, "m.room.member", Some(OWNER)), &join));
        state.push(self.next((OWNER, "m.room.power_levels", Some("")), &levels));
        state.push(self.next((OWNER, "m.room.join_rules", Some("")), &json!({"join_rule": "public"})));
        state.push(self.next((OWNER, "m.room.topic", Some("")), &json!({"topic": "big"})));
        state.push(self.next((MODERATOR, "m.room.member", Some(MODERATOR)), &join));
        // What authorises memberships: kept small, as each of them is looked up in it.
        let (mut around, mut invites) = (self.state.clone(), Vec::new());
        let mut joins: Vec<OwnedEventId> = Vec::with_capacity(members);
        for n in 0..members {
            let (name, slot) = (member(n), |name: &str| ("m.room.member".to_owned(), name.to_owned()));
            if n % 2 == 1 {
                // An odd factor spreads the invitations over everybody who came before.
                let host = n.wrapping_mul(7919) % n;
                around.insert(slot(&member(host)), joins[host].clone());
                let prev = [self.end.clone().unwrap()];
                let inviter = member(host);
                let event = (&*inviter, "m.room.member", Some(&*name));
                let invite = self.write(&prev, &around, event, &json!({"membership": "invite"}));
                around.remove(&slot(&member(host)));
                around.insert(slot(&name), invite.pdu.event_id.clone());
                self.end = Some(invite.pdu.event_id.clone());
                invites.push(invite);
            }
            let prev = [self.end.clone().unwrap()];
            let event = self.write(&prev, &around, (&*name, "m.room.member", Some(&*name)), &join);
            around.remove(&slot(&name));
            joins.push(event.pdu.event_id.clone());
            self.follow(&event);
            state.push(event);
        }
        (state, invites)
    }
}

/// A room on this server's disk, and those who write in it elsewhere.
pub struct BigRoom {
    pub members: usize,
    store: Arc<CountedStore>,
    author: AuthorKept,
}

/// What it takes to make an [`Author`] again.
struct AuthorKept {
    version: RoomVersionId,
    room_id: OwnedRoomId,
    hashes: HashMap<OwnedEventId, String>,
    state: Slots,
    end: OwnedEventId,
    clock: u64,
}

impl BigRoom {
    /// A room with these many members elsewhere, entered by a user of ours as such rooms are entered.
    pub async fn enter(version: &RoomVersionId, members: usize) -> Self {
        let mut author = Author::new(version);
        let (state, invites) = author.found(members);
        let event = author.next((GUEST, "m.room.member", Some(GUEST)), &json!({"membership": "join"}));
        let open = Opened::over(Arc::new(CountedStore::default()), CacheSizes::default());
        let entered = RemoteRoom { version: version.clone(), auth_chain: invites, state, event, omitted: None };
        let room = open.engine.enter(entered).await.unwrap();
        assert_eq!(room.info().joined, members as u64 + 3);
        let room_id = room.id.clone();
        let store = Arc::clone(&open.store);
        let Author { version, hashes, state, end, clock, .. } = author;
        let author = AuthorKept { version, room_id, hashes, state, end: end.unwrap(), clock };
        Self { members, store, author }
    }

    /// The room on a fresh copy, as after a start of the server, with these caches; and its writers.
    pub async fn open(&self, caches: CacheSizes) -> (Opened, Arc<Room>, Author) {
        let open = Opened::over(self.store.copy(), caches);
        let room = open.engine.room(&self.author.room_id).await.unwrap();
        let AuthorKept { version, room_id, hashes, state, end, clock } = &self.author;
        let author = Author {
            room_id: Some(room_id.clone()),
            hashes: hashes.clone(),
            state: state.clone(),
            end: Some(end.clone()),
            clock: *clock,
            ..Author::new(version)
        };
        (open, room, author)
    }
}

/// An engine over a counted store.
pub struct Opened {
    pub engine: Engine,
    pub store: Arc<CountedStore>,
}

impl Opened {
    fn over(store: Arc<CountedStore>, caches: CacheSizes) -> Self {
        open_schema(&*store, 1, &[]).unwrap();
        let db = Db::open(Arc::clone(&store) as Arc<dyn Store>, CommitterOptions::default(), |_| {}).unwrap();
        let ids = Arc::new(Ids::new(Arc::clone(&db), 100_000));
        let key = SigningKey::from_seed(&[9; 32], "k").unwrap();
        let identity = Identity { server_name: "here.example".try_into().unwrap(), key };
        let clock = Arc::new(ManualClock::new(1_000_000_000));
        let engine = Engine::new(db, ids, identity, clock, Arc::new(NoProjector), caches);
        Self { engine, store }
    }

    /// Takes an event as it comes from another server.
    pub async fn receive(&self, room: &Arc<Room>, event: ReceivedEvent) -> Verdict {
        match self.engine.receive(room, event).await.unwrap() {
            Received::Stored { verdict, .. } => verdict,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.engine.db.shutdown();
    }
}
