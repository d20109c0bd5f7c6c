//! Services against a server whose store outlives it, over a network that fails as it is told.

mod bridge;
mod delivery;
mod ephemeral;
mod questions;
mod requests;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use auth::{
    AccountHook, Auth, AuthConfig, AuthParts, HookFuture,
    appservices::{Appservices, Registration},
};
use axum::{Router, body::Body};
use engine::{CacheSizes, Engine, FirstEvent, Identity, Names, NewEvent, NewRoom, NoProjector, Preset, Room, RoomPlan};
use http::{Method, Request, header};
use rand::{SeedableRng as _, rngs::StdRng};
use ruma::{OwnedUserId, RoomVersionId, ServerName, UserId, events::TimelineEventType, server_name};
use serde_json::{Map, Value, json};
use store::{Clock, CommitterOptions, Db, Ids, ManualClock, MemoryStore, Store, open_schema};
use tower::ServiceExt as _;
use users::{UserNum, Users, UsersOptions, accounts::NewAccount};

use self::bridge::Bridge;
use crate::{Api, Services, ServicesParts, router};

fn server() -> &'static ServerName {
    server_name!("hs")
}
const ALICE: &str = "@alice:hs";
const BOB: &str = "@bob:hs";
const GHOST: &str = "@irc_ann:hs";

/// A bridge with users, aliases and rooms of its own.
const IRC: &str = r##"
id: irc
url: http://irc.test/base
as_token: irc-as
hs_token: irc-hs
sender_localpart: irc_bot
receive_ephemeral: true
protocols: [irc]
namespaces:
  users: [{exclusive: true, regex: "@irc_.*"}]
  aliases: [{exclusive: true, regex: "#irc_.*"}]
  rooms: [{exclusive: false, regex: "!watched.*"}]
"##;

/// One that wants next to nothing.
const QUIET: &str = r#"
id: quiet
url: http://quiet.test
as_token: quiet-as
hs_token: quiet-hs
sender_localpart: quiet_bot
protocols: [irc, smoke]
namespaces: {}
"#;

struct NoHook;

impl AccountHook for NoHook {
    fn deactivate<'a>(&'a self, _: UserNum, _: &'a UserId, _: bool) -> HookFuture<'a> {
        Box::pin(async { Ok(()) })
    }

    fn set_display_name<'a>(&'a self, _: UserNum, _: &'a UserId, _: &'a str) -> HookFuture<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// One run of a server.
struct Hs {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    engine: Arc<Engine>,
    users: Arc<Users>,
    services: Arc<Services>,
    bridge: Arc<Bridge>,
    router: Router,
    running: Option<tokio::task::JoinHandle<()>>,
    rooms: AtomicU64,
}

impl Drop for Hs {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

impl Hs {
    async fn new(registrations: &[&str]) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        open_schema(&*store, 1, &[]).unwrap();
        let hs = Self::open(store, Bridge::new(), registrations, 1).await;
        for name in ["alice", "bob", "irc_ann"] {
            hs.users.register(NewAccount::user(name), None).await.unwrap();
        }
        hs
    }

    /// The next run over the same store.
    async fn restarted(mut self, registrations: &[&str]) -> Self {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
        let rooms = self.rooms.load(Ordering::Relaxed);
        let (store, bridge) = (Arc::clone(&self.store), Arc::clone(&self.bridge));
        drop(self);
        let hs = Self::open(store, bridge, registrations, rooms + 1).await;
        hs.rooms.store(rooms, Ordering::Relaxed);
        hs
    }

    async fn open(store: Arc<dyn Store>, bridge: Arc<Bridge>, registrations: &[&str], seed: u64) -> Self {
        let db = Db::open(Arc::clone(&store), CommitterOptions::default(), |_| {}).unwrap();
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
        let key = room::SigningKey::from_seed(&[7; 32], "k1").unwrap();
        let engine = Arc::new(Engine::new(
            Arc::clone(&db),
            Arc::clone(&ids),
            Identity { server_name: server().to_owned(), key },
            Arc::clone(&shared),
            Arc::new(NoProjector),
            CacheSizes::default(),
        ));
        let options = UsersOptions::default();
        let users = Users::new(Arc::clone(&db), ids, Arc::clone(&shared), server().to_owned(), seed, options);
        let parse = |text: &&str| (Registration::parse(Path::new("x.yaml"), text, server()).unwrap(), "x.yaml".into());
        let registrations = Arc::new(Appservices::of(registrations.iter().map(parse).collect()).unwrap());
        let auth = Auth::new(AuthParts {
            users: Arc::clone(&users),
            db: Arc::clone(&db),
            clock: Arc::clone(&shared),
            rng: StdRng::seed_from_u64(seed),
            server_name: server().to_owned(),
            config: AuthConfig { appservices: Arc::clone(&registrations), ..AuthConfig::default() },
            hook: Arc::new(NoHook),
            upstream: None,
        })
        .unwrap();
        let services = Services::new(ServicesParts {
            registrations,
            engine: Arc::clone(&engine),
            users: Arc::clone(&users),
            db,
            clock: shared,
            authenticator: Arc::clone(&auth) as _,
            http: Arc::clone(&bridge) as _,
            seed,
        });
        auth.create_service_senders().await.unwrap();
        services.start().await.unwrap();
        let router = http_kit::finish(router().with_state(Api(Arc::clone(&services))));
        Self { store, clock, engine, users, services, bridge, router, running: None, rooms: AtomicU64::new(0) }
    }

    /// Begins to tell the services.
    fn tell(&mut self) {
        let services = Arc::clone(&self.services);
        self.running = Some(tokio::spawn(services.run(std::future::pending())));
    }

    async fn num(&self, user: &str) -> UserNum {
        self.engine.user_num(<&UserId>::try_from(user).unwrap()).await.unwrap()
    }

    /// A public room of Alice's.
    async fn room(&self) -> Arc<Room> {
        self.room_named(None, Vec::new()).await
    }

    async fn room_named(&self, name: Option<&str>, initial_state: Vec<FirstEvent>) -> Arc<Room> {
        let creator = <&UserId>::try_from(ALICE).unwrap();
        let plan = RoomPlan {
            creator,
            names: Names::default(),
            version: RoomVersionId::V11,
            preset: Preset::Public,
            creation_content: Map::new(),
            power_levels: Map::new(),
            alias: None,
            initial_state,
            name: None,
            topic: None,
            invite: Vec::new(),
            is_direct: false,
        };
        let first = plan.first_events().unwrap();
        let nth = self.rooms.fetch_add(1, Ordering::Relaxed);
        let name = name.map_or_else(|| format!("!r{nth}:hs"), str::to_owned);
        let new = NewRoom {
            creator,
            creator_num: self.num(ALICE).await,
            version: plan.version.clone(),
            create: first.create,
            room_id: name.try_into().unwrap(),
            events: first.events,
            alias: None,
            public: false,
        };
        self.engine.create_room(new, None).await.unwrap().room
    }

    async fn send(&self, room: &Arc<Room>, sender: &str, kind: &str, key: Option<&str>, content: Value) -> String {
        let content = content.to_string();
        let sender_id = OwnedUserId::try_from(sender).unwrap();
        let new = NewEvent {
            sender: &sender_id,
            sender_num: self.num(sender).await,
            event_type: TimelineEventType::from(kind),
            state_key: key,
            content: &content,
            redacts: None,
            origin_server_ts: None,
            device: None,
            txn_id: None,
        };
        self.engine.send(room, new, None).await.unwrap().to_string()
    }

    async fn say(&self, room: &Arc<Room>, sender: &str, text: &str) -> String {
        self.send(room, sender, "m.room.message", None, json!({"msgtype": "m.text", "body": text})).await
    }

    async fn member(&self, room: &Arc<Room>, sender: &str, of: &str, membership: &str) -> String {
        self.send(room, sender, "m.room.member", Some(of), json!({"membership": membership})).await
    }

    /// A request to a path behind `/_matrix/client`.
    async fn request(&self, method: Method, token: &str, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/_matrix/client{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.request(Method::GET, "irc-as", path, Value::Null).await
    }
}
