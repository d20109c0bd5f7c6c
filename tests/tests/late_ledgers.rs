//! Ledgers that a server comes to late: what it folds is what those folded who were there all along, and what it would fold after a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

use axum::{Router, extract::Request, response::IntoResponse as _};
use engine::{HistoryPoint, Received, Verdict};
use expenses::{Expenses, LedgerIndex};
use federation::{
    Api,
    remote::RemoteJoin,
    testing::{Event, TestServer, World, WorldOptions},
};
use http::StatusCode;
use http_kit::{AuthError, AuthFuture, Authenticator, RequestMeta};
use rand::{SeedableRng as _, rngs::StdRng};
use room::{EventDraft, Pdu, build::sign, check::ReceivedEvent};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, UInt, UserId,
    events::TimelineEventType,
};
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

struct Nobody;

impl Authenticator for Nobody {
    fn authenticate<'a>(&'a self, _: &'a str, _: RequestMeta<'a>) -> AuthFuture<'a> {
        Box::pin(std::future::ready(Err(AuthError::UnknownToken { soft_logout: false })))
    }
}

/// The ledger's part of a server, as it begins.
fn expenses(server: &TestServer) -> Arc<Expenses> {
    let rng = Box::new(StdRng::seed_from_u64(1));
    Expenses::new(server.engine(), server.users(), Arc::new(Nobody), RoomVersionId::V11, rng)
}

async fn digest(expenses: &Expenses, server: &TestServer, room: &OwnedRoomId) -> String {
    expenses.digest(&*server.room(room).await).await.unwrap()
}

/// A server that knows no ledgers, and how often it was asked for one.
fn stock(server: &TestServer, asked: &Arc<AtomicUsize>) -> Router {
    let inner: Router = http_kit::finish(federation::router().with_state(Api(server.federation())));
    let asked = Arc::clone(asked);
    Router::new().fallback(move |request: Request| {
        let (inner, asked) = (inner.clone(), Arc::clone(&asked));
        async move {
            if request.uri().path().contains("com.cliquepay") {
                asked.fetch_add(1, Ordering::SeqCst);
                let body = json!({"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"});
                return (StatusCode::NOT_FOUND, axum::Json(body)).into_response();
            }
            inner.oneshot(request).await.unwrap()
        }
    })
}

/// A room of Carl's on a server that knows no ledgers, with a ledger in it. Ann is on one that does and was there all along.
struct Group {
    world: World,
    room: OwnedRoomId,
    carl: OwnedUserId,
    ann: OwnedUserId,
    create: String,
    root: String,
    uid: usize,
    asked: Arc<AtomicUsize>,
}

async fn enter(server: &TestServer, user: &UserId, room: &OwnedRoomId, via: &str) {
    let join = RemoteJoin {
        user_id: user.to_owned(),
        room_id: room.clone(),
        via: vec![via.try_into().unwrap()],
        content: Map::new(),
        elsewhere: false,
    };
    server.federation().join(join).await.unwrap();
}

impl Group {
    async fn new(version: RoomVersionId) -> Self {
        let options = WorldOptions { projector: Arc::new(LedgerIndex), ..WorldOptions::default() };
        let world = World::with(&["stock", "there", "late"], &options);
        let asked = Arc::default();
        world.mesh.answer_by("stock", stock(world.server("stock"), &asked));
        let carl = world.server("stock").register("carl").await;
        let ann = world.server("there").register("ann").await;
        let room = world.server("stock").create_room(&carl, version).await;
        enter(world.server("there"), &ann, &room, "stock").await;
        let create = world.server("stock").state(&room).await[&("m.room.create".to_owned(), String::new())].clone();
        let mut group = Self { world, room, carl, ann, create, root: String::new(), uid: 0, asked };
        let open = json!({"version": 1, "currency": "EUR", "policies": {"settlement": "trust"}});
        let relates_to = json!({"rel_type": "m.reference", "event_id": group.create});
        let mut open = open;
        open["m.relates_to"] = relates_to;
        group.root = group.send("stock", "com.cliquepay.open", open).await.to_string();
        let pointer = json!({"ledger": group.root});
        let stock = group.world.server("stock");
        stock.set(&group.room, &group.carl, "com.cliquepay.ledger", "", pointer).await.unwrap();
        group.settle().await;
        group
    }

    fn server(&self, name: &str) -> &Arc<TestServer> {
        self.world.server(name)
    }

    fn user(&self, server: &str) -> &UserId {
        if server == "stock" { &self.carl } else { &self.ann }
    }

    async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(120)).await;
    }

    async fn send(&self, on: &str, kind: &str, content: Value) -> OwnedEventId {
        let event = Event { sender: self.user(on), kind, state_key: None, content, redacts: None };
        self.server(on).send(&self.room, event).await.unwrap()
    }

    /// What an entry of 12 euros says that Carl owes the payer for, or the payer Carl.
    fn dinner(&mut self, payer: &str, prev: &[&OwnedEventId]) -> Value {
        self.uid += 1;
        let other = if payer == self.carl.as_str() { &self.ann } else { &self.carl };
        json!({
            "m.relates_to": {"rel_type": "m.reference", "event_id": self.create},
            "open": self.root, "prev": prev, "uid": format!("u{}", self.uid), "title": "Dinner", "date": "2026-01-01",
            "currency": "EUR", "amount": "12.00", "paid": [{"who": payer, "amount": "12.00"}],
            "split": {"method": "equal"}, "owed": [{"who": other, "amount": "12.00"}],
        })
    }

    async fn expense(&mut self, on: &str, prev: &[&OwnedEventId]) -> OwnedEventId {
        let payer = self.user(on).to_string();
        let content = self.dinner(&payer, prev);
        self.send(on, "com.cliquepay.expense", content).await
    }

    async fn chat(&self, lines: usize) {
        for n in 0..lines {
            self.server("stock").say(&self.room, &self.carl, &format!("{n}")).await;
        }
    }

    async fn redact(&self, target: &EventId) {
        let event = Event {
            sender: &self.carl,
            kind: "m.room.redaction",
            state_key: None,
            content: json!({}),
            redacts: Some(target),
        };
        self.server("stock").send(&self.room, event).await.unwrap();
    }

    /// Dora joins on the late server, while no other gives ledgers in bulk.
    async fn dora_comes(&self) {
        self.settle().await;
        self.world.mesh.answer_by("there", stock(self.server("there"), &self.asked));
        let dora = self.server("late").register("dora").await;
        enter(self.server("late"), &dora, &self.room, "stock").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_ledger_is_read_out_of_the_history_of_a_server_that_knows_none() {
    for version in [RoomVersionId::V6, RoomVersionId::V11, RoomVersionId::V12] {
        let mut group = Group::new(version.clone()).await;
        let mut entries = 1;
        let mut last = None;
        for round in 0..6 {
            // What allows an entry is long gone from the state when the late server comes.
            let member = json!({"membership": "join", "displayname": format!("Carl {round}")});
            let (stock, carl) = (group.server("stock"), group.carl.clone());
            stock.set(&group.room, &carl, "m.room.member", carl.as_str(), member).await.unwrap();
            group.chat(40).await;
            for on in ["stock", "there", "stock"] {
                let prev: Vec<&OwnedEventId> = last.iter().collect();
                last = Some(group.expense(on, &prev).await);
                entries += 1;
            }
            group.settle().await;
        }
        // One that was emptied is cited by the next.
        let slip = group.expense("stock", &[last.as_ref().unwrap()]).await;
        group.expense("stock", &[&slip]).await;
        group.redact(&slip).await;
        entries += 2;
        group.chat(130).await;
        group.dora_comes().await;

        let late = group.server("late");
        let running = expenses(late);
        let before = digest(&running, late, &group.room).await;
        let fetched = late.federation().fetch_ledger(&late.room(&group.room).await).await.unwrap();
        assert!(fetched.is_complete(), "{version}: {fetched:?}");
        assert_eq!(fetched.new, entries, "{version}");
        assert!(group.asked.load(Ordering::SeqCst) > 0);
        let there = digest(&expenses(group.server("there")), group.server("there"), &group.room).await;
        let after = digest(&running, late, &group.room).await;
        assert_ne!(before, after);
        assert_eq!(after, there, "{version}");
        assert_eq!(digest(&expenses(late), late, &group.room).await, there);
        // Once more costs nothing, and changes nothing.
        let again = late.federation().fetch_ledger(&late.room(&group.room).await).await.unwrap();
        assert_eq!((again.new, again.is_complete()), (0, true));
        // Nor does a restart, or a server that knows ledgers.
        late.start();
        group.server("there").start();
        let fetched = late.federation().fetch_ledger(&late.room(&group.room).await).await.unwrap();
        assert_eq!((fetched.new, fetched.is_complete()), (0, true));
        assert_eq!(digest(&expenses(late), late, &group.room).await, there);
    }
}

#[tokio::test(start_paused = true)]
async fn in_bulk_those_that_were_emptied_come_with_what_emptied_them() {
    let mut group = Group::new(RoomVersionId::V11).await;
    let slip = group.expense("stock", &[]).await;
    let next = group.expense("stock", &[&slip]).await;
    group.redact(&slip).await;
    group.settle().await;
    let dora = group.server("late").register("dora").await;
    enter(group.server("late"), &dora, &group.room, "there").await;
    let late = group.server("late");
    let fetched = late.federation().fetch_ledger(&late.room(&group.room).await).await.unwrap();
    assert_eq!((fetched.new, fetched.is_complete()), (3, true), "{fetched:?}");
    let there = digest(&expenses(group.server("there")), group.server("there"), &group.room).await;
    assert_eq!(digest(&expenses(late), late, &group.room).await, there);
    let rows = late.rows(&group.room).await;
    let row = |id: &OwnedEventId| rows.iter().find(|row| row.event_id() == id.as_str()).unwrap();
    assert!(row(&slip).is_redacted() && !row(&next).is_redacted());
}

#[tokio::test(start_paused = true)]
async fn what_was_soft_failed_counts_where_another_cites_it() {
    let mut group = Group::new(RoomVersionId::V11).await;
    let ben = group.server("there").register("ben").await;
    let there = Arc::clone(group.server("there"));
    there.member(&group.room, &ben, &ben, "join").await.unwrap();
    group.settle().await;
    // Ben is banned while his server cannot be reached.
    group.world.cut("stock", "there");
    let content = group.dinner(ben.as_str(), &[]);
    let event = Event { sender: &ben, kind: "com.cliquepay.expense", state_key: None, content, redacts: None };
    let late_one = there.send(&group.room, event).await.unwrap();
    group.expense("there", &[&late_one]).await;
    let alone = group.dinner(ben.as_str(), &[&late_one]);
    let event = Event { sender: &ben, kind: "com.cliquepay.expense", state_key: None, content: alone, redacts: None };
    there.send(&group.room, event).await.unwrap();
    group.server("stock").member(&group.room, &group.carl, &ben, "ban").await.unwrap();
    let stock = Arc::clone(group.server("stock"));
    let running = expenses(&stock);
    let before = digest(&running, &stock, &group.room).await;
    group.world.heal("stock", "there");
    stock.say(&group.room, &group.carl, "back").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let verdict = |server: Arc<TestServer>, id: OwnedEventId| {
        let room = group.room.clone();
        async move {
            let rows = server.rows(&room).await;
            rows.iter().find(|row| row.event_id() == id.as_str()).map(|row| (row.verdict(), row.outlier()))
        }
    };
    assert_eq!(verdict(Arc::clone(&stock), late_one.clone()).await, Some((Verdict::SoftFailed, false)));
    let counts = digest(&running, &stock, &group.room).await;
    assert_ne!(before, counts);
    assert_eq!(counts, digest(&expenses(&stock), &stock, &group.room).await);

    group.dora_comes().await;
    let late = group.server("late");
    late.federation().fetch_ledger(&late.room(&group.room).await).await.unwrap();
    assert_eq!(digest(&expenses(late), late, &group.room).await, counts);
}

/// An event of a server that stands wherever it is put, with what allows it named by the caller.
async fn forge(group: &Group, sender: &UserId, prev: &EventId, cited: &[&str], content: &Value) -> ReceivedEvent {
    let late = group.server("late");
    let here = late.room(&group.room).await;
    let cited: Vec<OwnedEventId> = cited.iter().map(|id| OwnedEventId::try_from(*id).unwrap()).collect();
    let prev_events = [prev.to_owned()];
    let draft = EventDraft {
        room_id: Some(&group.room),
        sender,
        event_type: &TimelineEventType::from("com.cliquepay.expense"),
        state_key: None,
        content: &content.to_string(),
        origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new_saturating(late.engine().now())),
        depth: 1000,
        prev_events: &prev_events,
        auth_events: &cited,
        redacts: None,
        legacy: None,
    };
    let server = group.server(sender.server_name().as_str());
    let signed = sign(&draft, &here.rules, &server.name, &server.key()).unwrap();
    let pdu = Pdu::from_json(&signed.json, signed.pdu.event_id.clone(), &here.rules).unwrap();
    ReceivedEvent { json: signed.json, pdu, redacted: false, reference_hash: signed.reference_hash }
}

#[tokio::test(start_paused = true)]
async fn a_running_fold_is_the_one_that_a_restart_makes() {
    let mut group = Group::new(RoomVersionId::V11).await;
    let ben = group.server("there").register("ben").await;
    let there = Arc::clone(group.server("there"));
    let joined = there.member(&group.room, &ben, &ben, "join").await.unwrap();
    group.settle().await;
    let state = group.server("stock").state(&group.room).await;
    let (create, levels) = (
        state[&("m.room.create".to_owned(), String::new())].clone(),
        state[&("m.room.power_levels".to_owned(), String::new())].clone(),
    );
    let ban = group.server("stock").member(&group.room, &group.carl, &ben, "ban").await.unwrap();
    group.dora_comes().await;
    let late = Arc::clone(group.server("late"));
    let (here, engine, running) = (late.room(&group.room).await, late.engine(), expenses(&late));
    let rows = group.server("stock").rows(&group.room).await;
    let row = rows.iter().find(|row| row.event_id() == joined.as_str()).unwrap();
    let pdu = Pdu::from_json(row.json(), joined.clone(), &here.rules).unwrap();
    let membership = ReceivedEvent { json: row.json().to_owned(), pdu, redacted: false, reference_hash: String::new() };
    engine.receive_outliers(&here, vec![membership]).await.unwrap();
    late.federation().fetch_ledger(&here).await.unwrap();
    let room = group.room.clone();
    let same = async || {
        let now = digest(&running, &late, &room).await;
        assert_eq!(now, digest(&expenses(&late), &late, &room).await);
        now
    };
    let before = same().await;

    // By what it cites Ben may write; where it stands he may not. Both are told to be part of the room.
    let membership = [create.as_str(), levels.as_str(), joined.as_str()];
    let content = group.dinner(ben.as_str(), &[]);
    let bad = forge(&group, &ben, &ban, &membership, &content).await;
    let content = group.dinner(ben.as_str(), &[]);
    let good = forge(&group, &ben, &joined, &membership, &content).await;
    let told = |event: &ReceivedEvent| BTreeSet::from([event.pdu.event_id.clone()]);
    engine.receive_aside(&here, vec![bad.clone()], &told(&bad)).await.unwrap();
    let with_bad = same().await;
    assert_ne!(before, with_bad, "nothing speaks against it yet");
    // Of the other nobody says that it is part of the room, until somebody does.
    engine.receive_outliers(&here, vec![good.clone()]).await.unwrap();
    assert_eq!(same().await, with_bad);
    engine.receive_aside(&here, vec![good.clone()], &told(&good)).await.unwrap();
    let with_both = same().await;
    assert_ne!(with_both, with_bad);
    // Once what it follows is here, it is judged where it stands.
    let all = (HistoryPoint::START, HistoryPoint::END);
    while late.federation().backfill(&here, all, 100).await.unwrap() > 0 {}
    assert_eq!(same().await, with_both);
    let received = engine.receive(&here, bad).await.unwrap();
    assert!(matches!(received, Received::Stored { verdict: Verdict::Rejected, .. }), "{received:?}");
    let without_bad = same().await;
    assert!(without_bad != with_both && without_bad != before);

    // Who vouches for what was soft-failed may be redacted.
    let content = group.dinner(ben.as_str(), &[]);
    let doubtful = forge(&group, &ben, &joined, &membership, &content).await;
    let id = doubtful.pdu.event_id.clone();
    engine.receive_outliers(&here, vec![doubtful]).await.unwrap();
    assert_eq!(same().await, without_bad);
    let dora = late.user_id("dora");
    let content = group.dinner(dora.as_str(), &[&id]);
    let event = Event { sender: &dora, kind: "com.cliquepay.expense", state_key: None, content, redacts: None };
    let voucher = late.send(&group.room, event).await.unwrap();
    let vouched = same().await;
    let event =
        Event { sender: &dora, kind: "m.room.redaction", state_key: None, content: json!({}), redacts: Some(&voucher) };
    late.send(&group.room, event).await.unwrap();
    let left = same().await;
    assert!(vouched != without_bad && left == without_bad);
    assert_eq!(running.check_room(here.num).await.unwrap(), Vec::<String>::new());
    assert_eq!(engine.check_room(here.num).await.unwrap().findings, Vec::<String>::new());
}
