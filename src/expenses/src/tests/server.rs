//! A server with the ledger's routes only, whose users' tokens are their names.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, body::Body};
use engine::{CacheSizes, Engine, Identity, Names, NewEvent, NewRoom, Preset, Room, RoomPlan};
use http::{Method, Request, header};
use http_kit::{AuthError, AuthFuture, Authenticator, RequestMeta, Requester, RequesterInfo};
use rand::{SeedableRng as _, rngs::StdRng};
use room::SigningKey;
use ruma::{EventId, OwnedUserId, RoomVersionId};
use serde_json::{Map, Value, json};
use store::{Clock, CommitterOptions, Db, Ids, ManualClock, Store, open_schema};
use tower::ServiceExt as _;
use users::{Users, UsersOptions, accounts::NewAccount};

use super::slow::SlowStore;
use crate::{Api, Expenses, LedgerIndex};

pub(super) const BASE: &str = "/_matrix/client/unstable/com.cliquepay/v1";
/// 2023-11-14 in UTC.
const NOW: u64 = 1_700_000_000_000;

/// The parts that a restart replaces.
struct Running {
    db: Arc<Db>,
    api: Arc<Expenses>,
    users: Arc<Users>,
    router: Router,
}

/// A server as its clients see it.
pub(super) struct Server {
    pub(super) store: Arc<SlowStore>,
    key: [u8; 32],
    version: RoomVersionId,
    running: Running,
    pub(super) clock: Arc<ManualClock>,
    txn: AtomicU64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) json: Value,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub(super) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.json);
        self.json
    }

    /// The body of a refusal with this status and code.
    #[track_caller]
    pub(super) fn refused(self, status: u16, errcode: &str) -> Value {
        assert_eq!((self.status, self.json["errcode"].as_str()), (status, Some(errcode)), "{}", self.json);
        self.json
    }

    /// That a field was refused.
    #[track_caller]
    pub(super) fn names(self, field: &str) {
        let body = self.refused(400, "M_INVALID_PARAM");
        assert_eq!(body["field"], field, "{body}");
    }
}

/// The token `ann` is Ann's, on the device `ANN`; `ann:PHONE` is hers on the device `PHONE`.
struct Tokens(Arc<Users>);

impl Authenticator for Tokens {
    fn authenticate<'a>(&'a self, token: &'a str, _: RequestMeta<'a>) -> AuthFuture<'a> {
        Box::pin(async move { requester(&self.0, token).await.ok_or(AuthError::UnknownToken { soft_logout: false }) })
    }
}

async fn requester(users: &Users, token: &str) -> Option<Requester> {
    let (name, device) = match token.split_once(':') {
        Some((name, device)) => (name, device.to_owned()),
        None => (token, token.to_uppercase()),
    };
    let account = users.accounts.find(name).await.unwrap()?;
    Some(Requester::new(RequesterInfo {
        user_id: account.user_id,
        user: account.num,
        device_id: Some(device.into()),
        admin: account.admin,
        suspended: account.suspended,
        appservice: None,
    }))
}

fn run(
    store: &Arc<SlowStore>,
    key: &[u8; 32],
    clock: &Arc<ManualClock>,
    version: &RoomVersionId,
    seed: u64,
) -> Running {
    let db = Db::open(Arc::clone(store) as Arc<dyn Store>, CommitterOptions::default(), |_| {}).unwrap();
    let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
    let key = SigningKey::from_seed(key, "k1").unwrap();
    let identity = Identity { server_name: "hs".try_into().unwrap(), key };
    let shared: Arc<dyn Clock> = Arc::clone(clock) as _;
    let (sizes, projector) = (CacheSizes::default(), Arc::new(LedgerIndex));
    let engine =
        Arc::new(Engine::new(Arc::clone(&db), Arc::clone(&ids), identity, Arc::clone(&shared), projector, sizes));
    let users = Users::new(Arc::clone(&db), ids, shared, "hs".try_into().unwrap(), 1, UsersOptions::default());
    let tokens = Arc::new(Tokens(Arc::clone(&users)));
    let rng = Box::new(StdRng::seed_from_u64(seed));
    let api = Expenses::new(engine, Arc::clone(&users), tokens, version.clone(), rng);
    let router = http_kit::finish(crate::router().with_state(Api(Arc::clone(&api))));
    Running { db, api, users, router }
}

pub(super) fn user(name: &str) -> String {
    format!("@{name}:hs")
}

impl Server {
    /// A server with these users, whose groups are of room version 11.
    pub(super) async fn new(names: &[&str]) -> Self {
        Self::with_version(RoomVersionId::V11, names).await
    }

    pub(super) async fn with_version(version: RoomVersionId, names: &[&str]) -> Self {
        let store = Arc::new(SlowStore::default());
        open_schema(&*store, 1, &[]).unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        let key = [7; 32];
        let running = run(&store, &key, &clock, &version, 7);
        let server = Self { store, key, version, running, clock, txn: AtomicU64::new(0) };
        for name in names {
            server.register(name).await;
        }
        server
    }

    /// The same store with everything in memory forgotten.
    pub(super) fn restart(&mut self) {
        self.running.db.shutdown();
        let seed = self.txn.fetch_add(1, Ordering::Relaxed) + 100;
        self.running = run(&self.store, &self.key, &self.clock, &self.version, seed);
    }

    pub(super) fn api(&self) -> &Arc<Expenses> {
        &self.running.api
    }

    pub(super) async fn register(&self, name: &str) {
        self.running.users.register(NewAccount::user(name), None).await.unwrap();
    }

    /// Suspends somebody's account, or ends that.
    pub(super) async fn suspend(&self, name: &str, suspended: bool) {
        let num = self.requester(name).await.user;
        self.running.users.accounts.set_suspended(num, suspended).await.unwrap();
    }

    pub(super) async fn requester(&self, name: &str) -> Requester {
        requester(&self.running.users, name).await.unwrap()
    }

    /// A transaction id that was not used yet.
    pub(super) fn txn(&self) -> String {
        format!("t{}", self.txn.fetch_add(1, Ordering::Relaxed))
    }

    /// A request to a path behind [`BASE`], by the user with this token; without one where it is empty.
    pub(super) async fn request(&self, method: Method, who: &str, path: &str, body: Option<String>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{BASE}{path}"));
        if !who.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {who}"));
        }
        let request = request.body(body.map_or_else(Body::empty, Body::from)).unwrap();
        let response = self.running.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let json = serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("no JSON: {bytes:?}"));
        Answer { status, json }
    }

    pub(super) async fn get(&self, who: &str, path: &str) -> Answer {
        self.request(Method::GET, who, path, None).await
    }

    pub(super) async fn put(&self, who: &str, path: &str, body: &Value) -> Answer {
        self.request(Method::PUT, who, path, Some(body.to_string())).await
    }

    pub(super) async fn post(&self, who: &str, path: &str, body: &Value) -> Answer {
        self.request(Method::POST, who, path, Some(body.to_string())).await
    }

    /// A group in euros, made by the first of these users and joined by all. The room's id.
    pub(super) async fn group(&self, names: &[&str]) -> String {
        self.group_with(names, json!({})).await
    }

    pub(super) async fn group_with(&self, names: &[&str], policies: Value) -> String {
        let (creator, others) = names.split_first().unwrap();
        let invite: Vec<String> = others.iter().map(|name| user(name)).collect();
        let body = json!({"name": "Friday dinner", "currency": "EUR", "invite": invite, "policies": policies});
        let made = self.put(creator, &format!("/groups/{}", self.txn()), &body).await.ok();
        let room = made["room_id"].as_str().unwrap().to_owned();
        for other in others {
            self.member(other, other, &room, "join").await;
        }
        room
    }

    /// A room without a ledger, made by the first of these users and joined by all. Its id.
    pub(super) async fn plain_room(&self, names: &[&str]) -> String {
        let (creator, others) = names.split_first().unwrap();
        let requester = self.requester(creator).await;
        let first = RoomPlan {
            creator: &requester.user_id,
            names: Names::default(),
            version: self.version.clone(),
            preset: Preset::Public,
            creation_content: Map::new(),
            power_levels: Map::new(),
            alias: None,
            initial_state: Vec::new(),
            name: None,
            topic: None,
            invite: Vec::new(),
            is_direct: false,
        }
        .first_events()
        .unwrap();
        let new = NewRoom {
            creator: &requester.user_id,
            creator_num: requester.user,
            version: self.version.clone(),
            create: first.create,
            room_id: format!("!{}:hs", self.txn()).try_into().unwrap(),
            events: first.events,
            alias: None,
            public: false,
        };
        let room = self.api().engine.create_room(new, None).await.unwrap().room.id.to_string();
        for other in others {
            self.member(other, other, &room, "join").await;
        }
        room
    }

    pub(super) async fn room(&self, room: &str) -> Arc<Room> {
        self.api().engine.room(room.try_into().unwrap()).await.unwrap()
    }

    /// `by` changes the membership of `who`.
    pub(super) async fn member(&self, by: &str, who: &str, room: &str, membership: &str) {
        self.state(by, room, "m.room.member", &user(who), json!({"membership": membership})).await;
    }

    /// A state event, past the API.
    pub(super) async fn state(&self, who: &str, room: &str, kind: &str, key: &str, content: Value) -> String {
        self.send(who, room, kind, Some(key), &content, None).await
    }

    /// A message-like event, past the API.
    pub(super) async fn raw(&self, who: &str, room: &str, kind: &str, content: Value) -> String {
        self.send(who, room, kind, None, &content, None).await
    }

    pub(super) async fn redact(&self, who: &str, room: &str, target: &str) -> String {
        self.send(who, room, "m.room.redaction", None, &json!({}), Some(target)).await
    }

    async fn send(
        &self,
        who: &str,
        room: &str,
        kind: &str,
        state_key: Option<&str>,
        content: &Value,
        redacts: Option<&str>,
    ) -> String {
        let (requester, room) = (self.requester(who).await, self.room(room).await);
        let event = NewEvent {
            sender: &requester.user_id,
            sender_num: requester.user,
            event_type: kind.into(),
            state_key,
            content: &content.to_string(),
            redacts: redacts.map(|id| <&EventId>::try_from(id).unwrap()),
            origin_server_ts: None,
            device: None,
            txn_id: None,
        };
        self.api().engine.send(&room, event, None).await.unwrap().to_string()
    }

    /// An entry through the API, under a fresh transaction id.
    pub(super) async fn add(&self, who: &str, room: &str, kind: &str, content: Value) -> Answer {
        let path = format!("/rooms/{room}/ledger/entries/{}", self.txn());
        self.put(who, &path, &json!({"type": format!("com.cliquepay.{kind}"), "content": content})).await
    }

    /// The same, which is accepted. Its event's id.
    pub(super) async fn added(&self, who: &str, room: &str, kind: &str, content: Value) -> String {
        self.add(who, room, kind, content).await.ok()["event_id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn entry(&self, who: &str, room: &str, event_id: &str) -> Value {
        self.get(who, &format!("/rooms/{room}/ledger/entries/{event_id}")).await.ok()
    }

    pub(super) async fn status(&self, who: &str, room: &str, event_id: &str) -> String {
        self.entry(who, room, event_id).await["status"].as_str().unwrap().to_owned()
    }

    pub(super) async fn ledger(&self, who: &str, room: &str) -> Value {
        self.get(who, &format!("/rooms/{room}/ledger")).await.ok()
    }

    /// The balances that are not zero, by localpart. Checks the room's index and fold on the way.
    pub(super) async fn balances(&self, who: &str, room: &str) -> BTreeMap<String, String> {
        let num = self.room(room).await.num;
        assert_eq!(self.api().check_room(num).await.unwrap(), Vec::<String>::new());
        let ledger = self.ledger(who, room).await;
        let name = |id: &Value| OwnedUserId::try_from(id.as_str().unwrap()).unwrap().localpart().to_owned();
        let lines = ledger["balances"].as_array().unwrap().iter();
        lines.map(|line| (name(&line["who"]), line["amount"].as_str().unwrap().to_owned())).collect()
    }

    /// The events of a room as they came: type, content.
    pub(super) async fn events(&self, room: &str) -> Vec<(String, String, Value)> {
        let room = self.room(room).await;
        let engine = &self.api().engine;
        let page = engine.stream(room.num, 0, engine.frontier(), 1000, engine::Direction::Forward).await.unwrap();
        let nums: Vec<_> = page.iter().map(|(_, num)| *num).collect();
        let rows = engine.events(room.num, &nums).await.unwrap();
        rows.iter()
            .map(|(_, row)| {
                let content = serde_json::from_str(row.content()).unwrap();
                (row.event_id().to_owned(), row.event_type().into_owned(), content)
            })
            .collect()
    }
}

/// Balances by name.
pub(super) fn balances(lines: &[(&str, &str)]) -> BTreeMap<String, String> {
    lines.iter().map(|(who, amount)| ((*who).to_owned(), (*amount).to_owned())).collect()
}

/// 84.00 EUR for these people, equally.
pub(super) fn dinner(names: &[&str]) -> Value {
    let inputs: Vec<Value> = names.iter().map(|name| json!({"who": user(name)})).collect();
    json!({"title": "Dinner", "currency": "EUR", "amount": "84.00", "split": {"method": "equal", "inputs": inputs}})
}

/// A payment in euros.
pub(super) fn payment(from: &str, to: &str, amount: &str) -> Value {
    json!({"from": user(from), "to": user(to), "currency": "EUR", "amount": amount})
}

/// `base` with some members replaced.
pub(super) fn with(base: &Value, changes: Value) -> Value {
    let mut out = base.clone();
    for (key, value) in changes.as_object().unwrap() {
        out[key] = value.clone();
    }
    out
}
