//! What the tests here share.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::StdRng};
use ruma::{api::client::push::Pusher, owned_room_id};
use serde_json::{Value, json};
use store::{Clock, Db, Ids, MemoryStore, Pos, Store, open_schema};
use tokio::{task::JoinHandle, time::Instant};
use url::Url;
use users::{UserNum, Users, UsersOptions, accounts::NewAccount, devices::NewDevice, push::Actions, tokens::NewTokens};

use crate::{
    Gateway, GatewayError, GatewayReply, Notice, Notify, NotifyParts, RoomNum, Rooms, Search, Source, SourceError,
};

pub(super) const ROOM: RoomNum = 7;

/// Goes with tokio's time, which is paused.
#[derive(Debug)]
struct TestClock(Instant);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

/// Says how a gateway answers its nth notification, from 0.
type Script = Box<dyn Fn(usize, &Value) -> (u16, Value) + Send + Sync>;

/// A gateway in memory.
#[derive(Default)]
pub(super) struct FakeGateway {
    script: Mutex<Option<Script>>,
    /// How long it takes to answer, by its host.
    pub(super) slow: Mutex<BTreeMap<String, Duration>>,
    seen: Mutex<Vec<(Instant, String, Value)>>,
}

impl std::fmt::Debug for FakeGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeGateway").finish_non_exhaustive()
    }
}

impl FakeGateway {
    pub(super) fn answers(&self, script: impl Fn(usize, &Value) -> (u16, Value) + Send + Sync + 'static) {
        *self.script.lock() = Some(Box::new(script));
    }

    pub(super) fn takes_all(&self) {
        *self.script.lock() = None;
    }

    pub(super) fn fails(&self) {
        self.answers(|_, _| (503, json!({})));
    }

    /// Every attempt: when, at which host, and the notification.
    pub(super) fn attempts(&self) -> Vec<(Instant, String, Value)> {
        self.seen.lock().clone()
    }

    /// Events, or `badge`, of every attempt.
    pub(super) fn events(&self) -> Vec<String> {
        let name = |body: &Value| body["event_id"].as_str().unwrap_or("badge").to_owned();
        self.seen.lock().iter().map(|(_, _, body)| name(body)).collect()
    }

    pub(super) fn forget(&self) {
        self.seen.lock().clear();
    }
}

impl Gateway for FakeGateway {
    fn allows(&self, url: &Url) -> Result<(), String> {
        if url.host_str() == Some("10.0.0.1") { Err("a private address".to_owned()) } else { Ok(()) }
    }

    fn post<'a>(&'a self, url: &'a Url, body: Bytes) -> BoxFuture<'a, Result<GatewayReply, GatewayError>> {
        let host = url.host_str().unwrap().to_owned();
        async move {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let nth = self.seen.lock().len();
            self.seen.lock().push((Instant::now(), host.clone(), body["notification"].clone()));
            let slow = self.slow.lock().get(&host).copied();
            if let Some(slow) = slow {
                tokio::time::sleep(slow).await;
            }
            let answer = self.script.lock().as_ref().map(|script| script(nth, &body["notification"]));
            let (status, body) = answer.unwrap_or_else(|| (200, json!({"rejected": []})));
            Ok(GatewayReply { status, retry_after: None, body: body.to_string().into() })
        }
        .boxed()
    }
}

/// Rooms in memory: what notifies whom, in the order of the stream.
#[derive(Default)]
pub(super) struct FakeRooms {
    events: Mutex<BTreeMap<Pos, (UserNum, String)>>,
    read: Mutex<BTreeMap<UserNum, Pos>>,
    /// How far searches went: (after, to).
    pub(super) searches: Mutex<Vec<(Pos, Pos)>>,
    pub(super) broken: Mutex<bool>,
}

impl FakeRooms {
    fn unread_of(&self, user: UserNum, to: Pos) -> Vec<(Pos, String)> {
        let read = self.read.lock().get(&user).copied().unwrap_or_default();
        let events = self.events.lock();
        let unread = events.range(read + 1..=to.max(read + 1)).filter(|(pos, (of, _))| *of == user && **pos <= to);
        unread.map(|(pos, (_, id))| (*pos, id.clone())).collect()
    }
}

impl Source for FakeRooms {
    fn notices<'a>(&'a self, search: Search<'a>) -> BoxFuture<'a, Result<Vec<Notice>, SourceError>> {
        if *self.broken.lock() {
            return std::future::ready(Err("broken".into())).boxed();
        }
        self.searches.lock().push((search.after, search.to));
        let mut found = self.unread_of(search.user, search.to);
        found.retain(|(pos, _)| *pos > search.after);
        let skip = found.len().saturating_sub(search.limit);
        let notices = found.into_iter().skip(skip).map(|(pos, event_id)| Notice {
            pos,
            event_id,
            room_id: owned_room_id!("!room:hs"),
            event_type: "m.room.message".to_owned(),
            actions: Actions { notify: true, ..Actions::default() },
            detail: None,
        });
        std::future::ready(Ok(notices.collect())).boxed()
    }

    fn unread<'a>(
        &'a self,
        user: UserNum,
        _: &'a Rooms,
        to: Pos,
    ) -> BoxFuture<'a, Result<Vec<(RoomNum, u64)>, SourceError>> {
        let count = self.unread_of(user, to).len() as u64;
        std::future::ready(Ok(vec![(ROOM, count)])).boxed()
    }
}

/// A server with nothing but pushers.
pub(super) struct Bench {
    disk: Arc<MemoryStore>,
    pub(super) db: Arc<Db>,
    pub(super) users: Arc<Users>,
    pub(super) notify: Arc<Notify>,
    pub(super) gateway: Arc<FakeGateway>,
    pub(super) rooms: Arc<FakeRooms>,
    clock: Arc<TestClock>,
    running: Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>,
    next: AtomicU64,
}

impl Bench {
    /// A server with the users 1 (`@ann:hs`, device `A`) and 2 (`@ben:hs`, device `B`); nothing is sent yet.
    pub(super) async fn new() -> Self {
        let disk = Arc::new(MemoryStore::default());
        open_schema(&*disk, 1, &[]).unwrap();
        let clock = Arc::new(TestClock(Instant::now()));
        let gateway = Arc::<FakeGateway>::default();
        let (db, users, notify) = open(&disk, &clock, &gateway);
        let bench = Self {
            disk,
            db,
            users,
            notify,
            gateway,
            rooms: Arc::default(),
            clock,
            running: None,
            next: AtomicU64::new(0),
        };
        for (name, device) in [("ann", "A"), ("ben", "B")] {
            let tokens = NewTokens { access: name, expires_ts: None, refresh: None };
            let device = NewDevice { device_id: device.into(), display_name: None, tokens };
            bench.users.register(NewAccount::user(name), Some(&device)).await.unwrap();
        }
        bench
    }

    pub(super) fn run(&mut self) {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let running = Arc::clone(&self.notify).run(Arc::clone(&self.rooms) as _, async move { drop(stopped.await) });
        self.running = Some((stop, tokio::spawn(running)));
    }

    pub(super) async fn stop(&mut self) {
        if let Some((stop, running)) = self.running.take() {
            stop.send(()).unwrap();
            running.await.unwrap();
        }
    }

    /// Ends at once, as a crash does, and begins again with what was durable.
    pub(super) async fn crash(&mut self) {
        if let Some((_stop, running)) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
        (self.db, self.users, self.notify) = open(&self.disk, &self.clock, &self.gateway);
        self.run();
    }

    /// An event that notifies a user. Its id is `e0`, `e1`, …
    pub(super) async fn event(&self, user: UserNum) -> Pos {
        let id = format!("e{}", self.next.fetch_add(1, Ordering::Relaxed));
        let (rooms, notify) = (Arc::clone(&self.rooms), Arc::clone(&self.notify));
        let ticket = self.db.enqueue_at(1, |pos, mut write| {
            write.on_done(move |_| {
                rooms.events.lock().insert(pos, (user, id));
                notify.heard(ROOM, Some(Arc::from([user])), &[]);
            });
            write
        });
        ticket.await.unwrap().pos
    }

    /// The user reads up to a position.
    pub(super) async fn read(&self, user: UserNum, upto: Pos) {
        let (rooms, notify) = (Arc::clone(&self.rooms), Arc::clone(&self.notify));
        let ticket = self.db.enqueue_at(1, |_, mut write| {
            write.on_done(move |_| {
                rooms.read.lock().insert(user, upto);
                notify.heard(ROOM, None, &[user]);
            });
            write
        });
        ticket.await.unwrap();
    }

    /// Sets a pusher of the user 1 or 2.
    pub(super) async fn set(&self, user: UserNum, key: &str, host: &str) {
        let device = if user == 1 { "A" } else { "B" };
        self.notify.set(user, device.into(), pusher(key, host), false).await.unwrap();
    }

    pub(super) async fn keys(&self, user: UserNum) -> Vec<String> {
        self.notify.list(user).await.unwrap().into_iter().map(|pusher| pusher.ids.pushkey).collect()
    }
}

pub(super) fn pusher(key: &str, host: &str) -> Pusher {
    serde_json::from_value(json!({
        "app_id": "app", "pushkey": key, "kind": "http", "app_display_name": "App", "device_display_name": "Phone",
        "lang": "en", "data": {"url": format!("https://{host}/_matrix/push/v1/notify"), "format": "event_id_only"},
    }))
    .unwrap()
}

fn open(
    disk: &Arc<MemoryStore>,
    clock: &Arc<TestClock>,
    gateway: &Arc<FakeGateway>,
) -> (Arc<Db>, Arc<Users>, Arc<Notify>) {
    let (db, mut stepper) = Db::open_stepped(Arc::clone(disk) as Arc<dyn Store>).unwrap();
    // Commits land in this thread, so that the time stands still meanwhile.
    tokio::spawn(async move {
        loop {
            stepper.queued().await;
            if !stepper.step() {
                return;
            }
        }
    });
    let ids = Arc::new(Ids::new(Arc::clone(&db), 100));
    let name = "hs".try_into().unwrap();
    let users = Users::new(Arc::clone(&db), ids, Arc::clone(clock) as _, name, 1, UsersOptions::default());
    let notify = Notify::new(NotifyParts {
        db: Arc::clone(&db),
        users: Arc::clone(&users),
        clock: Arc::clone(clock) as _,
        rng: StdRng::seed_from_u64(3),
        gateway: Arc::clone(gateway) as _,
    });
    (db, users, notify)
}

/// Until everything is done that can be done within this time.
pub(super) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
