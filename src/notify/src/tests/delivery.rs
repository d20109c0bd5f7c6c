use std::time::Duration;

use serde_json::json;

use super::parts::{Bench, pass, pusher};
use crate::NotifyError;

const HOUR: u64 = 3600;

#[tokio::test(start_paused = true)]
async fn events_are_sent_in_order_and_once() {
    let mut bench = Bench::new().await;
    bench.event(1).await;
    bench.set(1, "key", "gateway").await;
    bench.run();
    pass(1).await;
    assert_eq!(bench.gateway.events(), ["badge"], "what was there before is a number alone");
    for _ in 0..3 {
        bench.event(1).await;
        bench.event(2).await;
    }
    pass(1).await;
    assert_eq!(bench.gateway.events(), ["badge", "e1", "e3", "e5"]);
    bench.crash().await;
    pass(HOUR).await;
    assert_eq!(bench.gateway.events().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_down_is_tried_again_later_and_later() {
    let mut bench = Bench::new().await;
    bench.set(1, "key", "gateway").await;
    bench.run();
    bench.gateway.fails();
    bench.event(1).await;
    bench.event(1).await;
    pass(2 * HOUR).await;
    let attempts = bench.gateway.attempts();
    assert!((10..16).contains(&attempts.len()), "{}", attempts.len());
    assert!(attempts.iter().all(|(_, _, body)| body["event_id"] == "e0"), "one is tried until it is taken");
    let waits: Vec<Duration> = attempts.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    for pair in waits.windows(2) {
        // Twice, each moved by a quarter at most.
        let grown = pair[1].as_secs_f64() / pair[0].as_secs_f64();
        assert!((1.2..3.4).contains(&grown) || pair[1] > Duration::from_secs(2700), "{waits:?}");
    }
    bench.gateway.forget();
    bench.gateway.takes_all();
    pass(2 * HOUR).await;
    assert_eq!(bench.gateway.events(), ["e0", "e1"]);
    bench.gateway.forget();
    bench.event(1).await;
    pass(1).await;
    assert_eq!(bench.gateway.events(), ["e2"]);
}

#[tokio::test(start_paused = true)]
async fn waits_survive_a_crash_and_so_does_what_waits() {
    let mut bench = Bench::new().await;
    bench.set(1, "key", "gateway").await;
    bench.run();
    bench.gateway.fails();
    bench.event(1).await;
    pass(1000).await;
    let before = bench.gateway.attempts().len();
    bench.crash().await;
    bench.event(1).await;
    pass(5).await;
    assert_eq!(bench.gateway.attempts().len(), before, "a start is no reason to try at once");
    bench.gateway.forget();
    bench.gateway.takes_all();
    pass(HOUR).await;
    assert_eq!(bench.gateway.events(), ["e0", "e1"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_meanwhile_is_not_sent() {
    let mut bench = Bench::new().await;
    bench.set(1, "key", "gateway").await;
    bench.run();
    bench.gateway.fails();
    bench.event(1).await;
    let second = bench.event(1).await;
    pass(60).await;
    bench.read(1, second).await;
    bench.gateway.forget();
    bench.gateway.takes_all();
    pass(HOUR).await;
    assert_eq!(bench.gateway.events(), [""; 0], "it knows of no unread message, and there is none");
    pass(48 * HOUR).await;
    bench.gateway.fails();
    bench.event(1).await;
    bench.event(1).await;
    pass(60).await;
    bench.gateway.forget();
    bench.gateway.takes_all();
    pass(HOUR).await;
    assert_eq!(bench.gateway.events(), ["e2", "e3"], "these did not wait for long");
}

#[tokio::test(start_paused = true)]
async fn a_number_that_fell_is_told_and_one_that_did_not_change_is_not() {
    let mut bench = Bench::new().await;
    bench.set(1, "key", "gateway").await;
    bench.run();
    let first = bench.event(1).await;
    bench.event(1).await;
    pass(1).await;
    bench.read(1, first).await;
    bench.read(1, first).await;
    pass(1).await;
    let attempts = bench.gateway.attempts();
    let counts: Vec<_> = attempts.iter().map(|(_, _, body)| body["counts"].clone()).collect();
    assert_eq!(counts.last().unwrap(), &json!({"unread": 1}));
    assert_eq!(bench.gateway.events(), ["e0", "e1", "badge"]);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_pushkey_ends_its_pusher_and_no_other() {
    let mut bench = Bench::new().await;
    bench.set(1, "old", "gateway").await;
    bench.set(1, "new", "gateway").await;
    bench.run();
    bench.gateway.answers(|_, body| {
        let key = body["devices"][0]["pushkey"].as_str().unwrap();
        // A gateway may not end pushers that it was not asked about.
        (200, if key == "old" { json!({"rejected": ["old"]}) } else { json!({"rejected": ["old", "else"]}) })
    });
    bench.event(1).await;
    pass(1).await;
    assert_eq!(bench.keys(1).await, ["new"]);
    bench.gateway.forget();
    bench.event(1).await;
    pass(HOUR).await;
    assert_eq!(bench.gateway.events(), ["e1"]);
    bench.set(1, "old", "gateway").await;
    assert_eq!(bench.keys(1).await, ["new", "old"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_calls_wrong_again_and_again_is_passed_over() {
    let mut bench = Bench::new().await;
    bench.set(1, "key", "gateway").await;
    bench.run();
    bench.gateway.answers(|_, body| if body["event_id"] == "e0" { (400, json!({})) } else { (200, json!({})) });
    bench.event(1).await;
    bench.event(1).await;
    pass(HOUR).await;
    assert_eq!(bench.gateway.events(), ["e0", "e0", "e0", "e0", "e0", "e1"]);
}

#[tokio::test(start_paused = true)]
async fn of_a_day_without_the_gateway_the_newest_alone_is_sent() {
    let mut bench = Bench::new().await;
    bench.set(1, "key", "gateway").await;
    bench.run();
    bench.gateway.fails();
    for _ in 0..5 {
        bench.event(1).await;
        pass(6 * HOUR).await;
    }
    bench.gateway.forget();
    bench.gateway.takes_all();
    pass(2 * HOUR).await;
    assert_eq!(bench.gateway.events(), ["e4"]);
}

#[tokio::test(start_paused = true)]
async fn of_many_the_newest_are_sent() {
    let mut bench = Bench::new().await;
    bench.set(1, "key", "gateway").await;
    for _ in 0..50 {
        bench.event(1).await;
    }
    bench.run();
    pass(1).await;
    let sent = bench.gateway.events();
    assert_eq!((sent.len(), &*sent[0], &*sent[19]), (20, "e30", "e49"));
}

#[tokio::test(start_paused = true)]
async fn a_pusher_that_is_set_again_does_not_wait() {
    let mut bench = Bench::new().await;
    bench.set(1, "key", "old-gateway").await;
    bench.run();
    bench.gateway.fails();
    bench.event(1).await;
    pass(2000).await;
    bench.gateway.forget();
    bench.gateway.takes_all();
    bench.set(1, "key", "new-gateway").await;
    pass(1).await;
    let attempts = bench.gateway.attempts();
    assert_eq!((attempts.len(), &*attempts[0].1), (1, "new-gateway"));
    bench.notify.delete(1, "app", "key").await.unwrap();
    bench.event(1).await;
    pass(HOUR).await;
    assert_eq!(bench.gateway.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pusher_that_changes_under_way_goes_on_as_what_it_is_then() {
    let mut bench = Bench::new().await;
    bench.gateway.slow.lock().insert("slow".to_owned(), Duration::from_secs(10));
    bench.set(1, "key", "slow").await;
    bench.run();
    bench.event(1).await;
    pass(1).await;
    bench.set(1, "key", "quick").await;
    pass(60).await;
    let hosts: Vec<_> = bench.gateway.attempts().into_iter().map(|(_, host, _)| host).collect();
    assert_eq!(hosts, ["slow", "quick"], "nobody can tell whether the first came to anything");
    bench.event(1).await;
    pass(1).await;
    assert_eq!(bench.gateway.events(), ["e0", "e0", "e1"]);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_hangs_holds_up_nobody_else() {
    let mut bench = Bench::new().await;
    bench.gateway.slow.lock().insert("slow".to_owned(), Duration::from_secs(3600));
    for nth in 0..40 {
        bench.set(1, &format!("key {nth}"), "slow").await;
    }
    bench.set(2, "key", "quick").await;
    bench.run();
    bench.event(1).await;
    pass(1).await;
    assert_eq!(bench.gateway.attempts().len(), 3, "one user's pushers have few turns at a time");
    bench.event(2).await;
    pass(1).await;
    assert_eq!(bench.gateway.events()[3..], ["e1"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_takes_long_ends_and_the_rest_follows() {
    let mut bench = Bench::new().await;
    bench.gateway.slow.lock().insert("slow".to_owned(), Duration::from_secs(8));
    bench.set(1, "key", "slow").await;
    for _ in 0..5 {
        bench.event(1).await;
    }
    bench.run();
    pass(60).await;
    assert_eq!(bench.gateway.events(), ["e0", "e1", "e2", "e3", "e4"]);
    let after: Vec<u64> = bench.rooms.searches.lock().iter().map(|(after, _)| *after).collect();
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(after[0] < after[1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_when_the_server_stops_is_finished_and_not_sent_again() {
    let mut bench = Bench::new().await;
    bench.gateway.slow.lock().insert("gateway".to_owned(), Duration::from_secs(2));
    bench.set(1, "key", "gateway").await;
    bench.run();
    bench.event(1).await;
    bench.event(1).await;
    pass(1).await;
    bench.stop().await;
    assert_eq!(bench.gateway.events(), ["e0"]);
    bench.crash().await;
    pass(60).await;
    assert_eq!(bench.gateway.events(), ["e0", "e1"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_does_not_look_again_at_what_was_looked_at() {
    let mut bench = Bench::new().await;
    bench.set(1, "key", "gateway").await;
    bench.run();
    for _ in 0..5 {
        bench.event(2).await;
    }
    pass(120).await;
    let frontier = bench.db.frontier();
    bench.rooms.searches.lock().clear();
    bench.crash().await;
    bench.event(1).await;
    pass(1).await;
    assert_eq!(bench.gateway.events(), ["e5"]);
    assert!(bench.rooms.searches.lock().iter().all(|(after, _)| *after >= frontier - 1));
}

#[tokio::test(start_paused = true)]
async fn rooms_that_cannot_be_read_are_asked_again() {
    let mut bench = Bench::new().await;
    bench.set(1, "key", "gateway").await;
    bench.run();
    *bench.rooms.broken.lock() = true;
    bench.event(1).await;
    pass(60).await;
    assert_eq!(bench.gateway.events(), [""; 0]);
    *bench.rooms.broken.lock() = false;
    pass(60).await;
    assert_eq!(bench.gateway.events(), ["e0"]);
}

#[tokio::test(start_paused = true)]
async fn addresses_that_are_not_allowed_and_devices_that_are_gone_get_no_pusher() {
    let bench = Bench::new().await;
    let refused = bench.notify.set(1, "A".into(), pusher("key", "10.0.0.1"), false).await;
    assert!(matches!(refused, Err(NotifyError::Invalid { field: "data.url", .. })));
    let refused = bench.notify.set(1, "gone".into(), pusher("key", "gateway"), false).await;
    assert!(matches!(refused, Err(NotifyError::DeviceGone)));
    assert!(bench.keys(1).await.is_empty());
}
