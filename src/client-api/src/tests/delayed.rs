use std::sync::Arc;

use http_kit::{Appservice, LimitConfig, RateConfig, Requester, RequesterInfo};
use ruma::user_id;
use serde_json::{Value, json, value::to_raw_value};

use crate::{ClientApiConfig, DelayedConfig, NoOtherServers, NoRemoteRooms, delayed::Later, testing::TestApp};

const BASE: &str = "/unstable/org.matrix.msc4140/delayed_events";
const KIND: &str = "org.example.x";

/// A room in which everybody may set [`KIND`].
async fn room(test: &TestApp) -> String {
    let room = test.public_room(&["alice", "bob"]).await;
    let mut levels = test.state(&room, "m.room.power_levels", "").await;
    levels["events"][KIND] = json!(0);
    test.set("alice", &room, "m.room.power_levels", "", levels).await.ok();
    room
}

fn later(room: &str, txn: &str, delay: u64) -> String {
    format!("/v3/rooms/{room}/send/{KIND}/{txn}?org.matrix.msc4140.delay={delay}")
}

fn id(answer: &Value) -> String {
    assert!(answer["event_id"].is_null(), "{answer}");
    answer["delay_id"].as_str().unwrap().to_owned()
}

async fn set_later(test: &TestApp, who: &str, room: &str, key: &str, delay: u64, content: Value) -> String {
    let path = format!("/v3/rooms/{room}/state/{KIND}/{key}?org.matrix.msc4140.delay={delay}");
    id(&test.put(who, &path, content).await.ok())
}

async fn waiting(test: &TestApp, who: &str) -> Vec<Value> {
    test.get(who, BASE).await.ok()["delayed_events"].as_array().unwrap().clone()
}

/// The time moves on, and what is due is sent.
async fn pass(test: &TestApp, ms: u64) {
    test.clock.advance(ms);
    test.app.send_due().await.unwrap();
}

async fn messages(test: &TestApp, who: &str, room: &str) -> Vec<Value> {
    let page = test.get(who, &format!("/v3/rooms/{room}/messages?dir=f&limit=100")).await.ok();
    let chunk = page["chunk"].as_array().unwrap();
    chunk.iter().filter(|event| event["type"] == KIND).cloned().collect()
}

#[tokio::test]
async fn messages_come_when_they_are_due_in_order_and_once() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = room(&test).await;
    for (n, delay) in [(2, 800), (1, 700), (3, 900)] {
        let path = later(&room, &format!("t{n}"), delay);
        let first = id(&test.put("alice", &path, json!({"n": n})).await.ok());
        // Asked again, without a body even, it is the same.
        assert_eq!(id(&test.request(http::Method::PUT, "alice", &path, None).await.ok()), first);
        // On another device it is another request.
        let other = id(&test.put("alice:OTHER", &path, json!({"n": n})).await.ok());
        test.post("", &format!("{BASE}/{other}/cancel"), json!({})).await.ok();
    }
    let listed = waiting(&test, "alice").await;
    assert_eq!(listed.iter().map(|event| event["content"]["n"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    let now = 1_700_000_000_000u64;
    let first = &listed[0];
    let id = first["delay_id"].as_str().unwrap();
    let expected = json!({
        "delay_id": id, "room_id": room, "type": KIND, "content": {"n": 1}, "delay_ms": 700, "delay": 700,
        "delayed_since_ts": now, "running_since": now,
    });
    assert_eq!(*first, expected);
    assert!(waiting(&test, "bob").await.is_empty());
    test.get("bob", &format!("{BASE}/{id}")).await.refused(404, "M_NOT_FOUND");
    test.get("", BASE).await.refused(401, "M_MISSING_TOKEN");

    pass(&test, 699).await;
    assert!(messages(&test, "bob", &room).await.is_empty());
    pass(&test, 101).await;
    assert_eq!(waiting(&test, "alice").await.len(), 1);
    pass(&test, 100).await;
    pass(&test, 100_000).await;
    assert!(waiting(&test, "alice").await.is_empty());
    let sent = messages(&test, "bob", &room).await;
    assert_eq!(sent.iter().map(|event| event["content"]["n"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(sent[0]["origin_server_ts"], now + 800, "when it was sent");
    // Its sender alone learns under which id it waited.
    assert!(sent[0]["unsigned"]["org.matrix.msc4140.delay_id"].is_null());
    let own = messages(&test, "alice", &room).await;
    assert_eq!(own[0]["unsigned"]["org.matrix.msc4140.delay_id"], id);
    assert!(own[0]["unsigned"]["transaction_id"].is_null());
    let end = test.get("alice", &format!("{BASE}/{id}")).await.ok();
    assert_eq!(end["finalised"], json!({"finalised_ts": now + 800, "event_id": own[0]["event_id"]}));
}

#[tokio::test]
async fn state_is_restarted_cancelled_or_sent_by_whoever_knows_its_id() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = room(&test).await;
    let act = async |id: &str, action: &str| test.post("", &format!("{BASE}/{id}/{action}"), json!({})).await;
    let restarted = set_later(&test, "alice", &room, "a", 1500, json!({"a": 1})).await;
    let cancelled = set_later(&test, "alice", &room, "b", 1500, json!({"b": 1})).await;
    let sent = set_later(&test, "alice", &room, "c", 100_000, json!({"c": 1})).await;
    assert_eq!(waiting(&test, "alice").await[0]["state_key"], "a");
    test.clock.advance(1000);
    act(&restarted, "restart").await.ok();
    act(&cancelled, "cancel").await.ok();
    act(&sent, "send").await.ok();
    assert_eq!(test.state(&room, KIND, "c").await, json!({"c": 1}));
    pass(&test, 1000).await;
    assert_eq!(test.state(&room, KIND, "a").await, Value::Null);
    pass(&test, 500).await;
    assert_eq!(test.state(&room, KIND, "a").await, json!({"a": 1}));
    assert_eq!(test.state(&room, KIND, "b").await, Value::Null);

    // What is repeated succeeds, what contradicts does not.
    act(&sent, "send").await.ok();
    act(&cancelled, "cancel").await.ok();
    act(&sent, "cancel").await.refused(409, "M_UNKNOWN");
    act(&cancelled, "send").await.refused(409, "M_UNKNOWN");
    act(&cancelled, "restart").await.refused(409, "M_UNKNOWN");
    act(&sent, "restart").await.refused(404, "M_NOT_FOUND");
    for action in ["send", "cancel", "restart"] {
        act("abc", action).await.refused(404, "M_NOT_FOUND");
    }
    act("abc", "oops").await.refused(404, "M_UNRECOGNIZED");

    // As it was done before: with the action in the body.
    let body = set_later(&test, "alice", &room, "d", 1500, json!({"d": 1})).await;
    test.post("alice", &format!("{BASE}/{body}"), json!({"action": "send"})).await.ok();
    assert_eq!(test.state(&room, KIND, "d").await, json!({"d": 1}));
    test.post("", &format!("{BASE}/{body}"), json!({"action": "send"})).await.refused(401, "M_MISSING_TOKEN");
    assert_eq!(test.post("alice", &format!("{BASE}/{body}"), json!({})).await.status, 400);

    // Nobody can look it up for ever.
    test.get("alice", &format!("{BASE}/{sent}")).await.ok();
    pass(&test, 7 * 86_400_000).await;
    test.get("alice", &format!("{BASE}/{sent}")).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_power_to_send_it_is_that_of_when_it_is_sent() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = room(&test).await;
    let failed = set_later(&test, "bob", &room, "f", 1000, json!({"f": 1})).await;
    let kept = set_later(&test, "bob", &room, "k", 5000, json!({"k": 1})).await;
    let mut levels = test.state(&room, "m.room.power_levels", "").await;
    levels["events"][KIND] = json!(50);
    test.set("alice", &room, "m.room.power_levels", "", levels.clone()).await.ok();
    pass(&test, 1000).await;
    assert_eq!(test.state(&room, KIND, "f").await, Value::Null);
    let end = test.get("bob", &format!("{BASE}/{failed}")).await.ok();
    assert_eq!(end["finalised"]["error"]["errcode"], "M_FORBIDDEN");
    test.post("", &format!("{BASE}/{failed}/send"), json!({})).await.refused(409, "M_UNKNOWN");
    test.post("", &format!("{BASE}/{failed}/cancel"), json!({})).await.ok();
    // What cannot be sent early goes on waiting.
    test.post("", &format!("{BASE}/{kept}/send"), json!({})).await.refused(403, "M_FORBIDDEN");
    assert_eq!(waiting(&test, "bob").await.len(), 1);
    levels["events"][KIND] = json!(0);
    test.set("alice", &room, "m.room.power_levels", "", levels).await.ok();
    pass(&test, 4000).await;
    assert_eq!(test.state(&room, KIND, "k").await, json!({"k": 1}));
}

#[tokio::test]
async fn it_waits_no_longer_than_it_may_and_not_too_many_do() {
    let delayed_events = DelayedConfig { max_delay_seconds: 10, max_per_user: 2 };
    let config = ClientApiConfig { delayed_events, ..ClientApiConfig::default() };
    let test = TestApp::with(config, &["alice", "bob"]).await;
    let room = room(&test).await;
    let told = test.put("alice", &later(&room, "t", 10_001), json!({})).await.refused(400, "M_UNKNOWN");
    assert_eq!(told["org.matrix.msc4140.errcode"], "M_MAX_DELAY_EXCEEDED");
    assert_eq!(told["org.matrix.msc4140.max_delay"], 10_000);
    for bad in ["0", "-1", "soon", ""] {
        let path = format!("/v3/rooms/{room}/send/{KIND}/t?org.matrix.msc4140.delay={bad}");
        test.put("alice", &path, json!({})).await.refused(400, "M_INVALID_PARAM");
    }
    test.put("alice", &later("!nowhere:hs", "t", 1), json!({})).await.refused(403, "M_FORBIDDEN");
    test.put("alice", &later(&room, "t", 1), json!({"x": "y".repeat(70_000)})).await.refused(413, "M_TOO_LARGE");
    test.put("alice", &later(&room, "t", 1), json!({"x": 1.5})).await.refused(400, "M_BAD_JSON");
    let invite = format!("/v3/rooms/{room}/state/m.room.member/@eve:elsewhere?org.matrix.msc4140.delay=1");
    test.put("alice", &invite, json!({"membership": "invite"})).await.refused(400, "M_UNKNOWN");

    test.put("alice", &later(&room, "t1", 10_000), json!({})).await.ok();
    test.put("alice", &later(&room, "t2", 9_000), json!({})).await.ok();
    let told = test.put("alice", &later(&room, "t3", 1), json!({})).await.refused(429, "M_LIMIT_EXCEEDED");
    assert_eq!(told["retry_after_ms"], 9_000);
    test.put("bob", &later(&room, "t3", 1), json!({})).await.ok();
    pass(&test, 9_000).await;
    test.put("alice", &later(&room, "t3", 1), json!({})).await.ok();
}

#[tokio::test]
async fn an_endpoint_of_its_own_takes_both_kinds_and_redactions() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = room(&test).await;
    let path = |kind: &str, txn: &str| format!("/unstable/org.matrix.msc4140/rooms/{room}/delayed_event/{kind}/{txn}");
    let message = json!({"delay_ms": 1000, "content": {"m": 1}});
    let first = id(&test.put("alice", &path(KIND, "t"), message.clone()).await.ok());
    assert_eq!(id(&test.put("alice", &path(KIND, "t"), message).await.ok()), first);
    // The name of the delay from before the proposal was accepted.
    let state = json!({"delay": 1000, "state_key": "s", "content": {"s": 1}});
    test.put("alice", &path(KIND, "s"), state).await.ok();
    let said = test.say("alice", &room, "for a moment").await;
    let redaction = json!({"delay_ms": 1000, "content": {"redacts": said, "reason": "r"}});
    test.put("alice", &path("m.room.redaction", "r"), redaction).await.ok();
    pass(&test, 1000).await;
    assert_eq!(messages(&test, "bob", &room).await[0]["content"], json!({"m": 1}));
    assert_eq!(test.state(&room, KIND, "s").await, json!({"s": 1}));
    let emptied = test.get("bob", &format!("/v3/rooms/{room}/event/{said}")).await.ok();
    assert_eq!(emptied["content"], json!({}));
    assert_eq!(emptied["unsigned"]["redacted_because"]["content"]["reason"], "r");

    let too_long = json!({"delay_ms": 604_800_001, "content": {}});
    let told = test.put("alice", &path(KIND, "u"), too_long).await;
    let told = told.refused(400, "ORG.MATRIX.MSC4140_MAX_DELAY_EXCEEDED");
    assert_eq!(told["org.matrix.msc4140.max_delay"], 604_800_000);
    test.put("alice", &path(KIND, "u"), json!({"content": {}})).await.refused(400, "M_MISSING_PARAM");
    test.put("alice", &path(KIND, "u"), json!({"delay_ms": 5, "content": [1]})).await.refused(400, "M_BAD_JSON");
}

#[tokio::test]
async fn asking_restarting_and_sending_count() {
    let few = LimitConfig::new(1.0 / 60.0, 2);
    let limits = RateConfig { messages: few, delayed: few, ..RateConfig::default() };
    let remote = Arc::new(NoRemoteRooms);
    let names = ["alice", "bob"];
    let test = TestApp::limited(limits, ClientApiConfig::default(), remote, Arc::new(NoOtherServers), &names).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let first = id(&test.put("bob", &later(&room, "t1", 1000), json!({})).await.ok());
    let second = id(&test.put("bob", &later(&room, "t2", 1000), json!({})).await.ok());
    test.put("bob", &later(&room, "t3", 1000), json!({})).await.refused(429, "M_LIMIT_EXCEEDED");
    let act = async |id: &str, action: &str| test.post("", &format!("{BASE}/{id}/{action}"), json!({})).await;
    act(&first, "restart").await.ok();
    act(&first, "send").await.refused(429, "M_LIMIT_EXCEEDED");
    act(&first, "restart").await.refused(429, "M_LIMIT_EXCEEDED");
    // At its time one that is too much waits until it is not.
    pass(&test, 1000).await;
    assert!(messages(&test, "alice", &room).await.is_empty());
    for sent in 1..=2 {
        pass(&test, 60_000).await;
        assert_eq!(messages(&test, "alice", &room).await.len(), sent);
    }
    for id in [first, second] {
        assert!(test.get("bob", &format!("{BASE}/{id}")).await.ok()["finalised"]["event_id"].is_string());
    }
}

#[tokio::test]
async fn the_timer_sends_what_became_due_while_nobody_was_there_and_wakes_for_new_ones() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = room(&test).await;
    set_later(&test, "alice", &room, "early", 1000, json!({"n": 1})).await;
    test.clock.advance(5000);
    let since = test.sync("bob", None).await["next_batch"].as_str().unwrap().to_owned();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let timer = tokio::spawn(test.app.clone().send_delayed(async move { drop(stopped.await) }));
    let poll = |since: String| {
        let test = &test;
        async move { test.get("bob", &format!("/v3/sync?since={since}&timeout=60000")).await.ok() }
    };
    let news = poll(since).await;
    assert_eq!(news["rooms"]["join"][&room]["timeline"]["events"][0]["state_key"], "early");
    // The timer sleeps; what is asked for now wakes it, and the clock of the server says that it is due.
    let since = news["next_batch"].as_str().unwrap().to_owned();
    set_later(&test, "alice", &room, "new", 1, json!({"n": 2})).await;
    test.clock.advance(1);
    let news = poll(since).await;
    assert_eq!(news["rooms"]["join"][&room]["timeline"]["events"][0]["state_key"], "new");
    stop.send(()).unwrap();
    timer.await.unwrap();
}

#[tokio::test]
async fn application_services_say_of_when_it_is_and_are_free_of_limits() {
    let few = LimitConfig::new(1.0 / 60.0, 1);
    let limits = RateConfig { messages: few, delayed: few, ..RateConfig::default() };
    let remote = Arc::new(NoRemoteRooms);
    let names = ["alice", "bob"];
    let test = TestApp::limited(limits, ClientApiConfig::default(), remote, Arc::new(NoOtherServers), &names).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let bridge = Requester::new(RequesterInfo {
        user_id: user_id!("@bob:hs").to_owned(),
        user: test.app.users.accounts.find("bob").await.unwrap().unwrap().num,
        device_id: None,
        admin: false,
        suspended: false,
        appservice: Some(Appservice { id: "bridge".into(), rate_limited: false }),
    });
    let schedule = async |path: &'static str, ts: Option<u64>| {
        let content = to_raw_value(&json!({"path": path})).unwrap();
        let later = Later {
            room_id: room.as_str().try_into().unwrap(),
            event_type: KIND.to_owned(),
            state_key: None,
            content: &content,
            delay_ms: 1000,
            ts,
            path: Some(path),
            too_long: "M_UNKNOWN",
        };
        let answer = test.app.send_later(&bridge, later).await.unwrap();
        id(&serde_json::from_slice(&answer.0).unwrap())
    };
    let first = schedule("one", Some(5)).await;
    assert_eq!(schedule("one", Some(5)).await, first);
    schedule("two", None).await;
    schedule("three", None).await;
    for _ in 0..3 {
        test.post("", &format!("{BASE}/{first}/restart"), json!({})).await.ok();
    }
    pass(&test, 1000).await;
    let sent = messages(&test, "alice", &room).await;
    assert_eq!(sent.len(), 3);
    let claimed = sent.iter().find(|event| event["content"]["path"] == "one").unwrap();
    assert_eq!(claimed["origin_server_ts"], 5);
}
