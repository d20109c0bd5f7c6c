//! The server's parts over the embedded store, and one user on it.

use std::{path::Path, sync::Arc};

use axum::{Router, body::Body};
use bytes::Bytes;
use client_api::{App, AppParts, ClientApiConfig};
use engine::{CacheSizes, Engine, Identity, Names, NewEvent, NewRoom, Preset, Room, RoomPlan, TxnKey};
use expenses::LedgerIndex;
use http::{Request, header};
use http_kit::{AuthFuture, Authenticator, RequestMeta, Requester, RequesterInfo};
use notify::{NoGateway, Notify, NotifyParts};
use rand::{SeedableRng as _, rngs::StdRng};
use room::SigningKey;
use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId, events::TimelineEventType};
use serde_json::Map;
use store::{Clock, CommitterOptions, Db, Ids, SCHEMA_VERSION, Store, SystemClock, open_schema};
use store_rocksdb::{RocksDbOptions, RocksDbStore};
use tower::ServiceExt as _;
use users::{Users, UsersOptions, accounts::NewAccount};

const NAME: &str = "bench.example";
/// 100 bytes.
const BODY: &str =
    "Ann paid for dinner, Ben for the wine, Cat for the taxi home; who owes whom, and how much, is a matter of";

pub struct Server {
    pub db: Arc<Db>,
    pub store: Arc<RocksDbStore>,
    pub engine: Arc<Engine>,
    pub user: OwnedUserId,
    pub num: u64,
    router: Router,
}

/// There is one user, and every token is theirs.
struct Anybody(OwnedUserId, u64);

impl Authenticator for Anybody {
    fn authenticate<'a>(&'a self, _: &'a str, _: RequestMeta<'a>) -> AuthFuture<'a> {
        Box::pin(async move {
            Ok(Requester::new(RequesterInfo {
                user_id: self.0.clone(),
                user: self.1,
                device_id: Some("BENCH".into()),
                admin: false,
                suspended: false,
                appservice: None,
            }))
        })
    }
}

impl Server {
    pub async fn open(folder: &Path) -> Self {
        let mut options = RocksDbOptions::new(folder.join("db"));
        options.statistics = true;
        let store = Arc::new(RocksDbStore::open(&options).unwrap());
        open_schema(&*store, SCHEMA_VERSION, &[]).unwrap();
        let backend = Arc::clone(&store) as Arc<dyn Store>;
        let db = Db::open(backend, CommitterOptions::default(), |error| panic!("{error}")).unwrap();
        let ids = Arc::new(Ids::new(Arc::clone(&db), 10_000));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let key = SigningKey::from_seed(&[7; 32], "bench").unwrap();
        let engine = Arc::new(Engine::new(
            Arc::clone(&db),
            Arc::clone(&ids),
            Identity { server_name: NAME.try_into().unwrap(), key },
            Arc::clone(&clock),
            Arc::new(LedgerIndex),
            CacheSizes::default(),
        ));
        let users =
            Users::new(Arc::clone(&db), ids, Arc::clone(&clock), NAME.try_into().unwrap(), 1, UsersOptions::default());
        users.register(NewAccount::user("ann"), None).await.unwrap();
        let user: OwnedUserId = format!("@ann:{NAME}").try_into().unwrap();
        let num = engine.user_num(&user).await.unwrap();
        let authenticator = Arc::new(Anybody(user.clone(), num));
        let rng = Box::new(StdRng::seed_from_u64(7));
        let notify = Notify::new(NotifyParts {
            db: Arc::clone(&db),
            users: Arc::clone(&users),
            clock,
            rng: StdRng::seed_from_u64(8),
            gateway: Arc::new(NoGateway),
        });
        let parts = AppParts::new(Arc::clone(&engine), users, authenticator, notify, ClientApiConfig::default(), rng);
        let router = http_kit::finish(client_api::router().with_state(App::new(parts)));
        Self { db, store, engine, user, num, router }
    }

    pub fn close(&self) {
        self.db.shutdown();
    }

    pub async fn room(&self, name: &str) -> Arc<Room> {
        let version = RoomVersionId::V11;
        let plan = RoomPlan {
            creator: &self.user,
            names: Names::default(),
            version: version.clone(),
            preset: Preset::Private,
            creation_content: Map::new(),
            power_levels: Map::new(),
            alias: None,
            initial_state: Vec::new(),
            name: Some(name.to_owned()),
            topic: None,
            invite: Vec::new(),
            is_direct: false,
        };
        let first = plan.first_events().unwrap();
        let new = NewRoom {
            creator: &self.user,
            creator_num: self.num,
            version,
            create: first.create,
            room_id: OwnedRoomId::try_from(format!("!{name}:{NAME}")).unwrap(),
            events: first.events,
            alias: None,
            public: false,
        };
        self.engine.create_room(new, None).await.unwrap().room
    }

    /// Sends a message; `txn` is used once.
    pub async fn say(&self, room: &Arc<Room>, txn: &str) {
        let content = format!(r#"{{"body":"{}","msgtype":"m.text"}}"#, &BODY[..100]);
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{txn}", room.id);
        let event = NewEvent {
            sender: &self.user,
            sender_num: self.num,
            event_type: TimelineEventType::RoomMessage,
            state_key: None,
            content: &content,
            redacts: None,
            origin_server_ts: None,
            device: Some("BENCH"),
            txn_id: Some(txn),
        };
        self.engine.send(room, event, Some(TxnKey { user: self.num, device: "BENCH", path: &path })).await.unwrap();
    }

    /// The body of an answer to a request through the whole router.
    pub async fn get(&self, path: &str) -> Bytes {
        let request = Request::builder().uri(path).header(header::AUTHORIZATION, "Bearer bench");
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        body
    }
}
