//! What the tests of this crate share: the whole router over the in-memory store, and users whose token is their name.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Router, body::Body};
use engine::{CacheSizes, Engine, Identity, NoProjector};
use futures::{FutureExt as _, future::BoxFuture};
use http::{Method, Request, header};
use http_kit::{AuthError, AuthFuture, Authenticator, RateConfig, RateLimits, RequestMeta, Requester, RequesterInfo};
use notify::{Gateway, GatewayError, GatewayReply, Notify, NotifyParts};
use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::StdRng};
use search::Search;
use serde_json::{Value, json};
use store::{Clock, CommitterOptions, Db, Ids, ManualClock, MemoryStore, Store, open_schema};
use tower::ServiceExt as _;
use users::{Users, UsersOptions, accounts::NewAccount};

use crate::{App, AppParts, ClientApiConfig, NoOtherServers, NoRemoteRooms, RemoteQueries, RemoteRooms};

/// The name of the server under test.
pub(crate) const SERVER: &str = "hs";

/// A server as its clients see it.
pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    /// All push gateways.
    pub(crate) gateway: Arc<Gateways>,
    router: Router,
    txn: AtomicU64,
}

/// Push gateways in memory: they take everything.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    /// What came in, each with the URL.
    pub(crate) taken: Mutex<Vec<(String, Value)>>,
    arrived: tokio::sync::Notify,
}

impl Gateways {
    /// The next notification, which has to come.
    pub(crate) async fn next(&self) -> Value {
        loop {
            if let Some((_, body)) = self.pop() {
                return body["notification"].clone();
            }
            self.arrived.notified().await;
        }
    }

    fn pop(&self) -> Option<(String, Value)> {
        let mut taken = self.taken.lock();
        (!taken.is_empty()).then(|| taken.remove(0))
    }
}

impl Gateway for Gateways {
    fn allows(&self, _: &url::Url) -> Result<(), String> {
        Ok(())
    }

    fn post<'a>(&'a self, url: &'a url::Url, body: bytes::Bytes) -> BoxFuture<'a, Result<GatewayReply, GatewayError>> {
        self.taken.lock().push((url.to_string(), serde_json::from_slice(&body).unwrap()));
        self.arrived.notify_one();
        let body = bytes::Bytes::from_static(b"{\"rejected\":[]}");
        std::future::ready(Ok(GatewayReply { status: 200, retry_after: None, body })).boxed()
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) json: Value,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.json);
        self.json
    }

    /// The body of a refusal with this status and code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, errcode: &str) -> Value {
        assert_eq!((self.status, self.json["errcode"].as_str()), (status, Some(errcode)), "{}", self.json);
        self.json
    }
}

/// The token `alice` is Alice's, on the device `ALICE`; `alice:PHONE` is hers on the device `PHONE`. Only users with an account
/// have tokens.
struct Names(Arc<Users>);

impl Authenticator for Names {
    fn authenticate<'a>(&'a self, token: &'a str, _: RequestMeta<'a>) -> AuthFuture<'a> {
        Box::pin(async move {
            let (name, device) = match token.split_once(':') {
                Some((name, device)) => (name, device.to_owned()),
                None => (token, token.to_uppercase()),
            };
            let account = self.0.accounts.find(name).await.map_err(|error| AuthError::Internal(Box::new(error)))?;
            let account = account.ok_or(AuthError::UnknownToken { soft_logout: false })?;
            Ok(Requester::new(RequesterInfo {
                user_id: account.user_id,
                user: account.num,
                device_id: Some(device.into()),
                admin: account.admin,
                suspended: account.suspended,
                appservice: None,
            }))
        })
    }
}

/// With a user's token, where there is one.
fn by(request: http::request::Builder, who: &str) -> http::request::Builder {
    if who.is_empty() { request } else { request.header(header::AUTHORIZATION, format!("Bearer {who}")) }
}

fn pushers(db: &Arc<Db>, users: &Arc<Users>, clock: &Arc<ManualClock>, gateway: &Arc<Gateways>) -> Arc<Notify> {
    Notify::new(NotifyParts {
        db: Arc::clone(db),
        users: Arc::clone(users),
        clock: Arc::clone(clock) as _,
        rng: StdRng::seed_from_u64(8),
        gateway: Arc::clone(gateway) as _,
    })
}

impl TestApp {
    /// A server with the default configuration and these users.
    pub(crate) async fn new(users: &[&str]) -> Self {
        Self::with(ClientApiConfig::default(), users).await
    }

    /// A server with these users.
    pub(crate) async fn with(config: ClientApiConfig, names: &[&str]) -> Self {
        Self::among(config, Arc::new(NoRemoteRooms), names).await
    }

    /// A server with these users, which reaches other servers by `remote`.
    pub(crate) async fn among(config: ClientApiConfig, remote: Arc<dyn RemoteRooms>, names: &[&str]) -> Self {
        Self::asking(config, remote, Arc::new(NoOtherServers), names).await
    }

    /// The same, which asks other servers by `remotes`.
    pub(crate) async fn asking(
        config: ClientApiConfig,
        remote: Arc<dyn RemoteRooms>,
        remotes: Arc<dyn RemoteQueries>,
        names: &[&str],
    ) -> Self {
        Self::limited(RateConfig::off(), config, remote, remotes, names).await
    }

    /// The same, whose users are limited.
    pub(crate) async fn limited(
        limits: RateConfig,
        config: ClientApiConfig,
        remote: Arc<dyn RemoteRooms>,
        remotes: Arc<dyn RemoteQueries>,
        names: &[&str],
    ) -> Self {
        let store = MemoryStore::default();
        open_schema(&store, 1, &[]).unwrap();
        let db = Db::open(Arc::new(store) as Arc<dyn Store>, CommitterOptions::default(), |_| {}).unwrap();
        let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let key = room::SigningKey::from_seed(&[7; 32], "k1").unwrap();
        let identity = Identity { server_name: SERVER.try_into().unwrap(), key };
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let engine = Arc::new(Engine::new(
            Arc::clone(&db),
            Arc::clone(&ids),
            identity,
            Arc::clone(&shared),
            Arc::new(NoProjector),
            CacheSizes::default(),
        ));
        let users = Users::new(db, ids, shared, SERVER.try_into().unwrap(), 1, UsersOptions::default());
        let gateway = Arc::<Gateways>::default();
        let authenticator = Arc::new(Names(Arc::clone(&users)));
        let rng = Box::new(StdRng::seed_from_u64(7));
        let search = Search::open(Arc::clone(&engine), None, 0).unwrap();
        let notify = pushers(&engine.db, &users, &clock, &gateway);
        let parts = AppParts::new(engine, users, authenticator, notify, config, rng).with_search(search);
        let now = Arc::clone(&clock);
        let limits = Arc::new(RateLimits::new(&limits, &http_kit::Clock::new(move || now.now_ms())));
        let app = App::new(parts.with_remote_rooms(remote).with_remotes(remotes).with_limits(limits));
        let router = http_kit::finish(crate::router().with_state(app.clone()));
        let test = Self { app, clock, gateway, router, txn: AtomicU64::new(0) };
        for name in names {
            test.register(name).await;
        }
        test
    }

    /// A server with these users on which what is said is indexed.
    pub(crate) async fn searching(names: &[&str]) -> Self {
        let test = Self::new(names).await;
        let search = test.app.search.clone().unwrap();
        tokio::spawn(search.run(std::future::pending()));
        test
    }

    /// Pushers over the same store, as they are after a restart.
    pub(crate) fn pushers(&self) -> Arc<Notify> {
        pushers(&self.app.engine.db, &self.app.users, &self.clock, &self.gateway)
    }

    /// One more user.
    pub(crate) async fn register(&self, name: &str) {
        self.app.users.register(NewAccount::user(name), None).await.unwrap();
    }

    /// A request to a path behind `/_matrix/client`, by the user with this token; without one where it is empty.
    pub(crate) async fn request(&self, method: Method, who: &str, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder().method(method).uri(format!("/_matrix/client{path}"));
        self.answer(by(request, who), body).await
    }

    /// A request without a body to a whole path.
    pub(crate) async fn at(&self, method: Method, who: &str, path: &str) -> Answer {
        self.answer(by(Request::builder().method(method).uri(path), who), None).await
    }

    /// A stranger's request to a whole path.
    pub(crate) async fn absolute(&self, method: Method, path: &str) -> Answer {
        self.answer(Request::builder().method(method).uri(path), None).await
    }

    async fn answer(&self, request: http::request::Builder, body: Option<Value>) -> Answer {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let json = serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("no JSON: {bytes:?}"));
        Answer { status, json }
    }

    pub(crate) async fn get(&self, who: &str, path: &str) -> Answer {
        self.request(Method::GET, who, path, None).await
    }

    pub(crate) async fn post(&self, who: &str, path: &str, body: Value) -> Answer {
        self.request(Method::POST, who, path, Some(body)).await
    }

    pub(crate) async fn put(&self, who: &str, path: &str, body: Value) -> Answer {
        self.request(Method::PUT, who, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, who: &str, path: &str) -> Answer {
        self.request(Method::DELETE, who, path, None).await
    }

    /// Makes a room and gives back its id.
    pub(crate) async fn room(&self, who: &str, body: Value) -> String {
        let made = self.post(who, "/v3/createRoom", body).await.ok();
        made["room_id"].as_str().unwrap().to_owned()
    }

    /// Makes a room that anybody may join, in which these users are; the first one made it.
    pub(crate) async fn public_room(&self, users: &[&str]) -> String {
        let (creator, others) = users.split_first().unwrap();
        let room = self.room(creator, json!({"preset": "public_chat"})).await;
        for user in others {
            self.join(user, &room).await.ok();
        }
        room
    }

    pub(crate) async fn join(&self, who: &str, room: &str) -> Answer {
        self.post(who, &format!("/v3/rooms/{room}/join"), json!({})).await
    }

    /// Sends an event and gives back its id.
    pub(crate) async fn send(&self, who: &str, room: &str, kind: &str, content: Value) -> String {
        let txn = self.txn.fetch_add(1, Ordering::Relaxed);
        let sent = self.put(who, &format!("/v3/rooms/{room}/send/{kind}/t{txn}"), content).await.ok();
        sent["event_id"].as_str().unwrap().to_owned()
    }

    /// Sends a text message and gives back its id.
    pub(crate) async fn say(&self, who: &str, room: &str, text: &str) -> String {
        self.send(who, room, "m.room.message", json!({"msgtype": "m.text", "body": text})).await
    }

    /// Sends a state event.
    pub(crate) async fn set(&self, who: &str, room: &str, kind: &str, key: &str, content: Value) -> Answer {
        self.put(who, &format!("/v3/rooms/{room}/state/{kind}/{key}"), content).await
    }

    /// The content of an entry of the current state, `null` where there is none.
    pub(crate) async fn state(&self, room: &str, kind: &str, key: &str) -> Value {
        let room = self.app.engine.room(room.try_into().unwrap()).await.unwrap();
        let found = self.app.engine.current_event(room.num, kind, key).await.unwrap();
        found.map_or(Value::Null, |row| serde_json::from_str(row.content()).unwrap())
    }

    /// Returns when a long poll is under way.
    pub(crate) async fn until_somebody_waits(&self) {
        while self.app.engine.db.notifier().is_idle() {
            tokio::task::yield_now().await;
        }
    }

    /// A `/sync` that does not wait, from a token where there is one.
    pub(crate) async fn sync(&self, who: &str, since: Option<&str>) -> Value {
        let path = since.map_or_else(|| "/v3/sync".to_owned(), |since| format!("/v3/sync?since={since}"));
        self.get(who, &path).await.ok()
    }
}
