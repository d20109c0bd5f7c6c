use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::StatusCode;
use ruma::{RoomVersionId, server_name, user_id};
use serde_json::{Value, json};
use store::Page;

use super::peer::Bench;
use crate::{
    outbox::{
        catch_up::ALL_SENT,
        queues::MAX_SENDING,
        tables::{HEALTH, IN_FLIGHT},
    },
    testing::Event,
};

const BOB: &str = "@bob:far";

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn events_go_out_in_order_and_as_they_are_stored() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    *bench.peer.slow.lock() = Duration::from_secs(1);
    bench.say_many(&room, 0..170).await;
    bench.quiet().await;
    assert_eq!(bench.peer.texts(), texts(0..170));
    let bodies = bench.peer.bodies();
    let sizes: Vec<usize> = bodies.iter().map(|body| body["pdus"].as_array().unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= 50) && sizes.contains(&50), "{sizes:?}");
    assert!(bodies.iter().all(|body| body["origin"] == "one" && body["origin_server_ts"].is_u64()));
    assert_eq!(bench.peer.busiest.load(Ordering::SeqCst), 1);
    // The very text of the store.
    let rows = bench.one().rows(&room).await;
    let attempts = bench.peer.attempts();
    for row in rows.iter().filter(|row| row.event_type() == "m.room.message") {
        assert!(attempts.iter().any(|(_, body)| std::str::from_utf8(body).unwrap().contains(row.json())));
    }
    assert_eq!(bench.queued().await, 0);
    let stats = bench.one().federation().outbox.stats();
    assert_eq!((stats.pdus, stats.failures, stats.dropped), (171, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_the_same_also_after_a_restart() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    bench.peer.fails();
    let (engine, before) = (bench.one().engine(), bench.peer.attempts().len());
    let num = bench.one().room(&room).await.num;
    let ann = engine.user_num(&bench.ann).await.unwrap();
    engine.typing.set(num, ann, 30_000);
    bench.say_many(&room, 0..3).await;
    bench.quiet().await;
    drop(engine);
    let first = bench.peer.attempts().len();
    assert!(first > before);
    bench.one().start();
    bench.say(&room, "3").await;
    while bench.peer.attempts().len() < first + 3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bench.one().start();
    bench.peer.takes_all();
    bench.empty().await;
    let attempts = bench.peer.attempts();
    let (id, body) = attempts.iter().rfind(|(_, body)| std::str::from_utf8(body).unwrap().contains("\"0\"")).unwrap();
    let same: Vec<_> = attempts.iter().filter(|(other, _)| other == id).collect();
    assert!(same.len() >= 4, "{}", same.len());
    assert!(same.iter().all(|(_, other)| other == body));
    assert_eq!(bench.peer.texts(), texts(0..4));
    assert_eq!(bench.queued().await, 0);
    let db = &bench.one().engine().db;
    assert!(db.scan_prefix(&IN_FLIGHT, &(), Page::first(1)).await.unwrap().is_empty());
    assert!(db.scan_prefix(&HEALTH, &(), Page::first(1)).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_redacted_between_two_attempts_goes_out_as_it_did_before() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    bench.peer.fails();
    let before = bench.peer.attempts().len();
    let said = bench.one().say(&room, &bench.ann, "a slip").await;
    bench.quiet().await;
    let redaction = Event {
        sender: &bench.ann,
        kind: "m.room.redaction",
        state_key: None,
        content: json!({}),
        redacts: Some(&said),
    };
    bench.one().send(&room, redaction).await.unwrap();
    bench.quiet().await;
    assert!(!bench.one().texts(&room).await.contains(&"a slip".to_owned()));
    bench.one().start();
    bench.peer.takes_all();
    bench.empty().await;
    let attempts = bench.peer.attempts().split_off(before);
    let (retries, rest): (Vec<_>, Vec<_>) = attempts.iter().partition(|(id, _)| *id == attempts[0].0);
    assert!(retries.len() >= 2 && retries.iter().all(|attempt| **attempt == attempts[0]));
    assert!(std::str::from_utf8(&attempts[0].1).unwrap().contains("a slip"));
    // What comes behind it is as it is now.
    assert_eq!(rest.len(), 1);
    assert!(std::str::from_utf8(&rest[0].1).unwrap().contains("m.room.redaction"));
    assert_eq!(bench.queued().await, 0);
}

#[tokio::test(start_paused = true)]
async fn large_events_share_no_transaction() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    bench.world.cut("one", "far");
    bench.say(&room, "first").await;
    bench.quiet().await;
    for _ in 0..40 {
        bench.say(&room, &"x".repeat(60_000)).await;
    }
    bench.world.heal("one", "far");
    bench.empty().await;
    assert_eq!(bench.peer.texts().len(), 41);
    assert!(bench.peer.attempts().iter().all(|(_, body)| body.len() < 1_200_000));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_many_costs_no_memory_that_grows_with_it() {
    const DESTINATIONS: usize = 50;
    const EVENTS: usize = 10_000;
    let bench = Bench::new().await;
    let room = bench.one().create_room(&bench.ann, RoomVersionId::V11).await;
    for n in 0..DESTINATIONS {
        bench.peer_is(&format!("far{n}"));
        bench.join(&room, &format!("@bob:far{n}")).await;
    }
    bench.quiet().await;
    for n in 0..DESTINATIONS {
        bench.world.cut("one", &format!("far{n}"));
    }
    bench.say(&room, "first").await;
    // Long enough that none is tried while the rest comes.
    tokio::time::sleep(Duration::from_secs(6 * 3600)).await;
    let outbox = Arc::clone(&bench.one().federation().outbox);
    let before = outbox.footprint();
    assert_eq!(before.0, DESTINATIONS);
    for n in 0..EVENTS {
        bench.say(&room, &n.to_string()).await;
    }
    bench.quiet().await;
    assert_eq!(outbox.footprint(), before);
    let queued = bench.queued().await;
    assert!(queued < DESTINATIONS * 1200, "{queued}");
    for n in 0..DESTINATIONS {
        bench.world.heal("one", &format!("far{n}"));
    }
    bench.empty().await;
    assert_eq!(outbox.footprint(), (0, 0));
    assert_eq!(bench.queued().await, 0);
    let last = (EVENTS - 1).to_string();
    assert_eq!(bench.peer.texts().iter().filter(|text| **text == last).count(), DESTINATIONS);
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_the_answer_repeats_the_transaction() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    *bench.peer.slow.lock() = Duration::from_secs(5);
    let before = bench.peer.attempts().len();
    bench.say(&room, "once").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.one().start();
    bench.quiet().await;
    let attempts = bench.peer.attempts();
    let [first, second] = &attempts[before..] else { panic!("{}", attempts.len() - before) };
    assert_eq!(first, second);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_asked_ever_more_rarely_and_at_once_when_heard_from() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    bench.world.cut("one", "far");
    bench.say(&room, "0").await;
    tokio::time::sleep(Duration::from_secs(6 * 3600)).await;
    let outbox = Arc::clone(&bench.one().federation().outbox);
    let failures = outbox.stats().failures;
    assert!((12..30).contains(&failures), "{failures}");
    // Neither more to send nor a restart makes it hasten.
    bench.world.heal("one", "far");
    bench.say(&room, "1").await;
    bench.quiet().await;
    drop(outbox);
    bench.one().start();
    bench.say(&room, "2").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bench.peer.texts().is_empty());
    let federation = bench.one().federation();
    assert_eq!((federation.outbox.stats().backing_off, federation.outbox.stats().failures), (1, 0));
    // Another server is not meant.
    federation.client.heard_from(server_name!("other"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(bench.peer.texts().is_empty());
    federation.client.heard_from(server_name!("far"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.peer.texts(), texts(0..3));
    assert_eq!(federation.outbox.stats().backing_off, 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_back_while_it_is_tried_is_tried_again_soon() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    bench.world.cut("one", "far");
    bench.say(&room, "0").await;
    tokio::time::sleep(Duration::from_secs(6 * 3600)).await;
    bench.world.heal_all();
    bench.world.mesh.judge(|_, _| crate::testing::Fate::LOST);
    let federation = bench.one().federation();
    federation.client.heard_from(server_name!("far"));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(federation.outbox.stats().sending, 1);
    federation.client.heard_from(server_name!("far"));
    bench.world.heal_all();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(bench.peer.texts(), texts(0..1));
}

#[tokio::test(start_paused = true)]
async fn of_much_that_was_missed_the_newest_of_each_room_and_few_more_are_sent() {
    let bench = Bench::new().await;
    let (red, blue) = (bench.room_with(BOB).await, bench.room_with(BOB).await);
    bench.world.cut("one", "far");
    for n in 0..ALL_SENT {
        bench.say(&red, &format!("red {n}")).await;
        bench.say(&blue, &format!("blue {n}")).await;
    }
    bench.quiet().await;
    bench.world.heal("one", "far");
    bench.empty().await;
    let texts = bench.peer.texts();
    // What was in flight before, and a few more.
    assert!(texts.len() <= 52 + 10, "{}", texts.len());
    let end: BTreeSet<&str> = texts.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(end, BTreeSet::from(["red 99", "blue 99"]));
    assert_eq!(bench.queued().await, 0);
    let stats = bench.one().federation().outbox.stats();
    assert_eq!(stats.dropped as usize + texts.len(), 2 * ALL_SENT);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_one_that_is_down_is_bounded() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    bench.world.cut("one", "far");
    bench.say(&room, "first").await;
    // Long enough that it is not tried while the rest comes.
    tokio::time::sleep(Duration::from_secs(6 * 3600)).await;
    bench.say_many(&room, 0..1500).await;
    bench.quiet().await;
    let queued = bench.queued().await;
    assert!(queued < 800, "{queued}");
    bench.world.heal("one", "far");
    bench.empty().await;
    assert_eq!(bench.peer.texts().last().unwrap(), "1499");
}

#[tokio::test(start_paused = true)]
async fn of_a_room_that_they_were_removed_from_only_that_is_sent() {
    let bench = Bench::new().await;
    let (left, stayed) = (bench.room_with(BOB).await, bench.room_with(BOB).await);
    let bob = user_id!("@bob:far");
    bench.world.cut("one", "far");
    bench.say(&stayed, "first").await;
    bench.quiet().await;
    bench.say(&left, "secret").await;
    bench.one().member(&left, &bench.ann, bob, "leave").await.unwrap();
    bench.say(&left, "gone").await;
    bench.say(&stayed, "hello").await;
    bench.quiet().await;
    let before = bench.peer.pdus().len();
    bench.world.heal("one", "far");
    bench.empty().await;
    let sent: Vec<Value> = bench.peer.pdus().split_off(before);
    let sent: Vec<&str> = sent.iter().map(|pdu| pdu["content"]["body"].as_str().unwrap_or("leave")).collect();
    assert_eq!(sent, ["first", "leave", "hello"]);
}

#[tokio::test(start_paused = true)]
async fn a_removal_and_what_came_before_it_reach_those_who_are_there() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    *bench.peer.slow.lock() = Duration::from_secs(1);
    bench.say_many(&room, 0..3).await;
    bench.one().member(&room, &bench.ann, user_id!("@bob:far"), "ban").await.unwrap();
    bench.say(&room, "not for them").await;
    bench.quiet().await;
    assert_eq!(bench.peer.texts(), texts(0..3));
    assert_eq!(bench.peer.pdus().last().unwrap()["content"]["membership"], "ban");
}

#[tokio::test(start_paused = true)]
async fn refused_events_are_not_sent_again() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    bench.peer.answers(|_| (StatusCode::OK, json!({"pdus": {"$x": {"error": "no thanks"}, "$y": {}}})));
    let before = bench.peer.attempts().len();
    bench.say(&room, "0").await;
    bench.quiet().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(bench.peer.attempts().len(), before + 1);
    assert_eq!(bench.one().federation().outbox.stats().refused, 1);
    assert_eq!(bench.queued().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_called_wrong_for_ever_holds_up_nothing_for_ever() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    bench.say(&room, "before").await;
    bench.quiet().await;
    bench.peer.answers(|_| (StatusCode::BAD_REQUEST, json!({"errcode": "M_BAD_JSON", "error": "?"})));
    bench.say(&room, "wrong").await;
    while bench.one().federation().outbox.stats().dropped == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(bench.one().federation().outbox.stats().failures, 5);
    bench.peer.takes_all();
    bench.say(&room, "after").await;
    bench.empty().await;
    assert_eq!(bench.peer.texts(), ["before", "wrong", "after"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_asks_for_time_gets_it() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    bench.peer.answers(|_| {
        (StatusCode::TOO_MANY_REQUESTS, json!({"errcode": "M_LIMIT_EXCEEDED", "error": "", "retry_after_ms": 600_000}))
    });
    let before = bench.peer.attempts().len();
    bench.say(&room, "0").await;
    tokio::time::sleep(Duration::from_secs(590)).await;
    assert_eq!(bench.peer.attempts().len(), before + 1);
    bench.peer.takes_all();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(bench.peer.attempts().len(), before + 2);
}

#[tokio::test(start_paused = true)]
async fn many_are_sent_to_at_one_time_but_not_all() {
    let bench = Bench::new().await;
    let room = bench.one().create_room(&bench.ann, RoomVersionId::V11).await;
    let count = MAX_SENDING + 20;
    for n in 0..count {
        bench.peer_is(&format!("far{n}"));
        bench.join(&room, &format!("@bob:far{n}")).await;
    }
    bench.quiet().await;
    *bench.peer.slow.lock() = Duration::from_secs(2);
    bench.peer.busiest.store(0, Ordering::SeqCst);
    bench.say(&room, "all of you").await;
    bench.quiet().await;
    assert_eq!(bench.peer.texts().iter().filter(|text| *text == "all of you").count(), count);
    assert_eq!(bench.peer.busiest.load(Ordering::SeqCst), MAX_SENDING);
}
