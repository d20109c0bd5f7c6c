//! Keys of servers that answer well, badly and not at all.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router, body::Body, routing::get};
use http::{Request, StatusCode};
use http_kit::{ClientIp, Clock, LimitConfig, RateConfig, RateLimits};
use parking_lot::Mutex;
use room::SigningKey;
use ruma::{
    CanonicalJsonObject, MilliSecondsSinceUnixEpoch, OwnedServerName, ServerName, UInt,
    signatures::{PublicKeyMap, PublicKeySet, sign_json, verify_json},
};
use serde_json::{Value, json};
use store::{Clock as _, IdKind};
use tower::ServiceExt as _;

use super::{KeyRing, Keys, known, strangers::Strangers};
use crate::{
    Api, FederationConfig, OldKey,
    testing::{TestServer, World},
};

const DAY: u64 = 86_400_000;

fn key(seed: u8, version: &str) -> SigningKey {
    SigningKey::from_seed(&[seed; 32], version).unwrap()
}

fn base64(key: &SigningKey) -> String {
    ruma::serde::Base64::<ruma::serde::base64::Standard>::new(key.public_key().to_vec()).encode()
}

/// A server's answer about its keys, signed with those in use.
fn document(server: &str, current: &[&SigningKey], old: &[(&SigningKey, u64)], valid_until: u64) -> Value {
    let id = |key: &SigningKey| format!("ed25519:{}", key.version());
    let verify: serde_json::Map<String, Value> =
        current.iter().map(|key| (id(key), json!({ "key": base64(key) }))).collect();
    let expired: serde_json::Map<String, Value> =
        old.iter().map(|(key, at)| (id(key), json!({ "key": base64(key), "expired_ts": at }))).collect();
    let document = json!({
        "server_name": server, "verify_keys": verify, "old_verify_keys": expired, "valid_until_ts": valid_until,
    });
    current.iter().fold(document, |document, key| signed(document, server, key))
}

fn signed(document: Value, server: &str, key: &SigningKey) -> Value {
    let mut object: CanonicalJsonObject = serde_json::from_value(document).unwrap();
    sign_json(server, key, &mut object).unwrap();
    serde_json::to_value(object).unwrap()
}

/// A server that answers about its keys as it is told, and counts how often.
#[derive(Clone, Default)]
struct Peer {
    answer: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
}

impl Peer {
    fn join(world: &World, name: &str, answer: Value) -> Self {
        let peer = Self { answer: Arc::new(Mutex::new(answer)), asked: Arc::default() };
        let (answer, asked) = (Arc::clone(&peer.answer), Arc::clone(&peer.asked));
        let handler = move || {
            asked.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Json(answer.lock().clone()))
        };
        world.mesh.answer_by(name, Router::new().route("/_matrix/key/v2/server", get(handler)));
        peer
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn at(ms: u64) -> Option<MilliSecondsSinceUnixEpoch> {
    UInt::new(ms).map(MilliSecondsSinceUnixEpoch)
}

fn name(name: &str) -> OwnedServerName {
    name.try_into().unwrap()
}

async fn fetch(server: &TestServer, of: &str, id: &str, valid_at: u64) -> Keys {
    server.federation().keys.fetch(&[(name(of), vec![id.to_owned()])], at(valid_at)).await
}

fn has(keys: &Keys, of: &str, id: &str, valid_at: Option<u64>) -> bool {
    keys.get(<&ServerName>::try_from(of).unwrap(), id, valid_at.and_then(at)).is_some()
}

#[tokio::test]
async fn keys_are_asked_for_once_and_outlive_a_restart() {
    let world = World::new(&["one"]);
    let one = world.server("one");
    let now = one.clock.now_ms();
    let first = key(1, "a");
    let peer = Peer::join(&world, "peer", document("peer", &[&first], &[], now + DAY));
    let all = futures::future::join_all((0..20).map(|_| fetch(one, "peer", "ed25519:a", now))).await;
    for keys in all {
        let found = keys.get(<&ServerName>::try_from("peer").unwrap(), "ed25519:a", at(now));
        assert_eq!(found, Some(first.public_key()));
    }
    assert_eq!(peer.asked(), 1);
    one.start();
    assert!(has(&fetch(one, "peer", "ed25519:a", now).await, "peer", "ed25519:a", Some(now)));
    assert_eq!(peer.asked(), 1);
    // No time is asked for: then any key that was ever seen is good.
    one.clock.advance(30 * i64::try_from(DAY).unwrap());
    assert!(has(
        &one.federation().keys.fetch(&[(name("peer"), vec!["ed25519:a".to_owned()])], None).await,
        "peer",
        "ed25519:a",
        None
    ));
    assert_eq!(peer.asked(), 1);
}

#[tokio::test]
async fn keys_are_valid_for_their_time_and_at_most_seven_days_ahead() {
    let world = World::new(&["one"]);
    let one = world.server("one");
    let now = one.clock.now_ms();
    let (current, old) = (key(1, "a"), key(2, "b"));
    Peer::join(&world, "peer", document("peer", &[&current], &[(&old, now - DAY)], now + 300 * DAY));
    let keys = fetch(one, "peer", "ed25519:a", now).await;
    assert!(has(&keys, "peer", "ed25519:a", Some(now - 300 * DAY)));
    assert!(has(&keys, "peer", "ed25519:a", Some(now + 6 * DAY)));
    assert!(!has(&keys, "peer", "ed25519:a", Some(now + 8 * DAY)));
    assert!(has(&keys, "peer", "ed25519:b", Some(now - 2 * DAY)));
    assert!(!has(&keys, "peer", "ed25519:b", Some(now)));
    assert!(has(&keys, "peer", "ed25519:b", None));
    assert!(!has(&keys, "peer", "ed25519:c", None) && !has(&keys, "other", "ed25519:a", None));
}

#[tokio::test]
async fn a_new_key_is_learnt_and_the_old_one_ends() {
    let world = World::new(&["one"]);
    let one = world.server("one");
    let now = one.clock.now_ms();
    let (first, second) = (key(1, "a"), key(2, "b"));
    let peer = Peer::join(&world, "peer", document("peer", &[&first], &[], now + DAY));
    fetch(one, "peer", "ed25519:a", now).await;
    *peer.answer.lock() = document("peer", &[&second], &[(&first, now - 1)], now + DAY);
    let keys = fetch(one, "peer", "ed25519:b", now).await;
    assert!(has(&keys, "peer", "ed25519:b", Some(now)) && !has(&keys, "peer", "ed25519:a", Some(now)));
    assert!(has(&keys, "peer", "ed25519:a", Some(now - 2)));
    assert_eq!(peer.asked(), 2);
    // A key that the server does not have: asked once, then not again for a while.
    for _ in 0..5 {
        assert!(!has(&fetch(one, "peer", "ed25519:none", now).await, "peer", "ed25519:none", None));
    }
    assert_eq!(peer.asked(), 3);
    one.clock.advance(60_000);
    fetch(one, "peer", "ed25519:none", now).await;
    assert_eq!(peer.asked(), 4);
}

#[tokio::test]
async fn answers_that_prove_nothing_are_not_used() {
    let world = World::new(&["one"]);
    let one = world.server("one");
    let now = one.clock.now_ms();
    let (own, other) = (key(1, "a"), key(2, "a"));
    let changed = |mut document: Value, path: &str, value: Value| {
        *document.pointer_mut(path).unwrap() = value;
        document
    };
    let good = |peer: &str| document(peer, &[&own], &[], now + DAY);
    let many: Vec<SigningKey> = (0..200).map(|nth| key(3, &format!("k{nth}"))).collect();
    let crowd: Vec<&SigningKey> = std::iter::once(&own).chain(&many).collect();
    // Each from a server of its own, so that no pause is in the way.
    for (peer, answer) in [
        ("changed", changed(good("changed"), "/valid_until_ts", json!(now + 2 * DAY))),
        ("unsigned", changed(good("unsigned"), "/signatures", json!({}))),
        ("swapped", changed(good("swapped"), "/verify_keys/ed25519:a/key", json!(base64(&other)))),
        ("foreign", good("elsewhere")),
        ("many", document("many", &crowd, &[], now + DAY)),
        ("retired", document("retired", &[], &[(&own, now)], now + DAY)),
        ("empty", json!({})),
        ("list", json!([good("list")])),
    ] {
        Peer::join(&world, peer, answer);
        assert!(!has(&fetch(one, peer, "ed25519:a", now).await, peer, "ed25519:a", None), "{peer}");
    }
    let fine = Peer::join(&world, "fine", document("fine", &[&own], &[], now + DAY));
    assert!(has(&fetch(one, "fine", "ed25519:a", now).await, "fine", "ed25519:a", Some(now)));
    assert_eq!(fine.asked(), 1);
}

/// A ring on server `one` that asks a notary.
fn ring(world: &World, notary: &str) -> KeyRing {
    let federation = world.server("one").federation();
    let config = FederationConfig { key_servers: vec![name(notary)], ..FederationConfig::default() };
    KeyRing::new(
        Arc::clone(&federation.engine),
        Arc::clone(&federation.db),
        Arc::clone(&federation.clock),
        Arc::clone(&federation.client),
        &config,
    )
}

#[tokio::test]
async fn a_notary_vouches_for_a_server_that_cannot_be_reached() {
    let world = World::new(&["one", "two"]);
    let now = world.server("one").clock.now_ms();
    let own = key(1, "a");
    let peer = Peer::join(&world, "peer", document("peer", &[&own], &[], now + DAY));
    world.cut("one", "peer");
    let wanted = [(name("peer"), vec!["ed25519:a".to_owned()])];
    let keys = ring(&world, "two").fetch(&wanted, at(now)).await;
    assert_eq!(keys.get(&name("peer"), "ed25519:a", at(now)), Some(own.public_key()));
    assert_eq!(peer.asked(), 1);
    // It keeps what it was told, for when the server is gone.
    world.cut("two", "peer");
    let again = world.server("two").federation().keys.attested(&name("peer"), now, || true).await.unwrap();
    let object: CanonicalJsonObject = serde_json::from_str(again.json().get()).unwrap();
    let two = world.server("two").key();
    let encoded = |key: &SigningKey| ruma::serde::Base64::new(key.public_key().to_vec());
    let known = PublicKeyMap::from([
        ("two".to_owned(), PublicKeySet::from([("ed25519:k1".to_owned(), encoded(&two))])),
        ("peer".to_owned(), PublicKeySet::from([("ed25519:a".to_owned(), encoded(&own))])),
    ]);
    verify_json(&known, &object).unwrap();
}

#[tokio::test]
async fn a_notary_that_lies_is_not_believed() {
    let notary_key = key(9, "n");
    let (own, other) = (key(1, "a"), key(2, "a"));
    let wanted = [(name("peer"), vec!["ed25519:a".to_owned()])];
    for (forged, good) in [("nothing", true), ("notary", false), ("server", false)] {
        let world = World::new(&["one"]);
        let now = world.server("one").clock.now_ms();
        let mut answer = document("peer", &[&own], &[], now + DAY);
        match forged {
            // Signed by the server alone: anybody could have made up such a server.
            "notary" => answer = signed(answer, "notary", &other),
            "server" => {
                answer["verify_keys"]["ed25519:a"]["key"] = json!(base64(&other));
                answer = signed(answer, "notary", &notary_key);
            }
            _ => answer = signed(answer, "notary", &notary_key),
        }
        let keys = document("notary", &[&notary_key], &[], now + DAY);
        let router =
            Router::new().route("/_matrix/key/v2/server", get(move || std::future::ready(Json(keys.clone())))).route(
                "/_matrix/key/v2/query",
                axum::routing::post(move || std::future::ready(Json(json!({ "server_keys": [answer.clone()] })))),
            );
        world.mesh.answer_by("notary", router);
        let keys = ring(&world, "notary").fetch(&wanted, at(now)).await;
        assert_eq!(keys.get(&name("peer"), "ed25519:a", at(now)).is_some(), good, "{forged}");
    }
}

#[tokio::test]
async fn our_own_keys_are_published_with_those_of_before() {
    let world = World::new(&["one"]);
    let federation = world.server("one").federation();
    let old = key(5, "old");
    let config = FederationConfig {
        old_keys: vec![OldKey { version: "old".to_owned(), public_key: old.public_key(), expired_ms: 77 }],
        ..FederationConfig::default()
    };
    let ring = KeyRing::new(
        Arc::clone(&federation.engine),
        Arc::clone(&federation.db),
        Arc::clone(&federation.clock),
        Arc::clone(&federation.client),
        &config,
    );
    let answer = ring.own_answer().unwrap();
    let now = federation.clock.now_ms();
    let (read, _) = super::response::read(answer.json().get().as_bytes(), &name("one"), now).unwrap();
    assert_eq!(read.keys.get("ed25519:old").unwrap().expired, Some(77));
    assert_eq!(read.keys.get("ed25519:k1").unwrap().key.as_bytes(), world.server("one").key().public_key());
    assert!(read.valid_until > now);
    // And they are what our own events are checked with.
    let wanted = [(name("one"), vec!["ed25519:old".to_owned(), "ed25519:k1".to_owned()])];
    let keys = ring.fetch(&wanted, at(now)).await;
    assert!(has(&keys, "one", "ed25519:k1", Some(now)));
    assert!(has(&keys, "one", "ed25519:old", Some(77)) && !has(&keys, "one", "ed25519:old", Some(78)));
}

#[tokio::test]
async fn of_strangers_the_keys_of_those_who_came_last_are_kept() {
    let world = World::new(&["one", "two"]);
    let one = world.server("one");
    let (now, own) = (one.clock.now_ms(), key(1, "a"));
    let mut ring = ring(&world, "two");
    ring.strangers = Strangers::of(3);
    let (engine, federation) = (one.engine(), one.federation());
    let db = &federation.db;
    // Who shares a room has a number.
    engine.ids.number(IdKind::Server, "friend").await.unwrap();
    for server in ["friend", "early", "a", "b", "c", "d"] {
        Peer::join(&world, server, document(server, &[&own], &[], now + DAY));
        let wanted = [(name(server), vec!["ed25519:a".to_owned()])];
        assert!(has(&ring.fetch(&wanted, at(now)).await, server, "ed25519:a", Some(now)));
        if server == "early" {
            engine.ids.number(IdKind::Server, server).await.unwrap();
        }
        one.clock.advance(1);
    }
    for (server, kept) in [("friend", 1), ("early", 1), ("a", 0), ("b", 1), ("c", 1), ("d", 1)] {
        assert_eq!(known::load(db, &name(server)).await.unwrap().len(), kept, "{server}");
        assert_eq!(known::load_answer(db, &name(server)).await.unwrap().is_some(), kept == 1, "{server}");
    }
    // Whoever went is a stranger like any other when it comes again.
    let again = ring.fetch(&[(name("a"), vec!["ed25519:a".to_owned()])], at(now)).await;
    assert!(has(&again, "a", "ed25519:a", Some(now)));
    assert_eq!(known::load(db, &name("a")).await.unwrap().len(), 1);
    assert!(known::load(db, &name("b")).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_address_that_names_servers_that_nobody_knows_is_told_to_wait() {
    let world = World::new(&["one"]);
    let one = world.server("one");
    let now = one.clock.now_ms();
    let config = RateConfig { strangers: LimitConfig::new(0.001, 2), ..RateConfig::default() };
    let limits = RateLimits::new(&config, &Clock::new(|| 1_700_000_000_000));
    one.federation().limits.set(Arc::new(limits)).unwrap();
    let router = http_kit::finish(crate::router().with_state(Api(one.federation())));
    let ask = async |address: &str, path: &str, origin: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(origin) = origin {
            let header = format!("X-Matrix origin=\"{origin}\",destination=\"one\",key=\"ed25519:a\",sig=\"AAAA\"");
            request = request.header("authorization", header);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ClientIp(address.parse().unwrap()));
        router.clone().oneshot(request).await.unwrap().status()
    };
    let notary = |server: &str| format!("/_matrix/key/v2/query/{server}");
    let peer = |server: &str| Peer::join(&world, server, document(server, &[&key(1, "a")], &[], now + DAY));
    let (known, made_up, other) = (peer("known"), peer("made-up"), peer("other"));
    assert_eq!(ask("192.0.2.1", &notary("known"), None).await, StatusCode::OK);
    // What is known costs nobody anything.
    for _ in 0..5 {
        assert_eq!(ask("192.0.2.1", &notary("known"), None).await, StatusCode::OK);
    }
    let event = "/_matrix/federation/v1/event/$x";
    assert_eq!(ask("192.0.2.1", event, Some("made-up")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("192.0.2.1", event, Some("other")).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask("192.0.2.1", &notary("other"), None).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((known.asked(), made_up.asked(), other.asked()), (1, 1, 0));
    assert_eq!(ask("192.0.2.1", event, Some("made-up")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("192.0.2.2", &notary("other"), None).await, StatusCode::OK);
}
