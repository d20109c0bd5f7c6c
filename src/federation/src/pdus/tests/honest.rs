use std::time::Duration;

use engine::HistoryPoint;
use http::StatusCode;
use serde_json::json;

use super::{Pair, raw};
use crate::pdus::fill::{MAX_STEPS, STEP};

const ALL: (HistoryPoint, HistoryPoint) = (HistoryPoint::START, HistoryPoint::END);

fn texts(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|nth| nth.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_filled_in_its_order() {
    let pair = Pair::new().await;
    for text in texts(0, 30) {
        pair.whisper(&text).await;
    }
    let last = pair.whisper("30").await;
    let results = pair.push("1", &[pair.json(&last).await]).await;
    assert_eq!(results, [(last, Ok(()))].into());
    assert_eq!(pair.good().texts(&pair.room).await, texts(0, 31));
    assert_eq!(pair.good().extremities(&pair.room).await, pair.evil().extremities(&pair.room).await);
    assert_eq!((pair.asked("get_missing_events"), pair.asked("state_ids")), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_gap_too_long_is_crossed_with_the_state_behind_it_and_read_later() {
    let pair = Pair::new().await;
    let many = MAX_STEPS * STEP + 30;
    for text in texts(0, many) {
        pair.whisper(&text).await;
    }
    let last = pair.whisper("last").await;
    assert_eq!(pair.push("1", &[pair.json(&last).await]).await[&last], Ok(()));
    assert_eq!(pair.asked("get_missing_events"), MAX_STEPS);
    assert_eq!(pair.asked("state_ids"), 1);
    let known = pair.good().texts(&pair.room).await;
    assert_eq!(known.len(), MAX_STEPS * STEP + 2, "what was asked for, what it follows, and what was sent");
    assert_eq!(pair.good().state(&pair.room).await, pair.evil().state(&pair.room).await);

    let room = pair.good().room(&pair.room).await;
    let federation = pair.good().federation();
    assert_eq!(federation.backfill(&room, ALL, 100).await.unwrap(), many - (MAX_STEPS * STEP + 1));
    assert_eq!(pair.good().accepted(&pair.room).await, pair.evil().accepted(&pair.room).await);
    let calls = pair.asked("");
    assert_eq!(federation.backfill(&room, ALL, 100).await.unwrap(), 0);
    assert_eq!(pair.asked(""), calls, "nothing is missing, so nobody is asked");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_taken_once() {
    let pair = Pair::new().await;
    let (one, two) = (pair.whisper("one").await, pair.whisper("two").await);
    let (one_json, two_json) = (pair.json(&one).await, pair.json(&two).await);
    let bodies = [one_json, two_json.clone()];
    let first = [(one, Ok(()))].into();
    let (taken, repeated) = tokio::join!(pair.push("same", &bodies[..1]), pair.push("same", &bodies[..1]));
    assert_eq!((&taken, &repeated), (&first, &first));
    assert_eq!(pair.push("same", &bodies[1..]).await, first, "the id tells transactions apart, not what is in them");
    pair.good().start();
    assert_eq!(pair.push("same", &bodies[1..]).await, first, "a restart forgets no answer");
    assert_eq!(pair.good().texts(&pair.room).await, ["one"]);
    assert_eq!(pair.push("other", &[two_json]).await, [(two, Ok(()))].into());
}

#[tokio::test(start_paused = true)]
async fn the_answers_kept_are_the_newest_few() {
    let pair = Pair::new().await;
    let db = pair.good().engine().db.clone();
    for nth in 0..3 * crate::inbound::ANSWERS_KEPT {
        pair.push(&format!("txn{nth}"), &[]).await;
        tokio::time::advance(Duration::from_millis(2)).await;
    }
    let kept = crate::inbound::answers_kept(&db, "evil").await;
    assert_eq!(kept, crate::inbound::ANSWERS_KEPT);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_has_its_limits() {
    let pair = Pair::new().await;
    let said = pair.whisper("hello").await;
    let pdu = pair.json(&said).await;
    let refused = pair.send("pdus", &vec![pdu.clone(); 51], &[]).await.unwrap_err();
    assert!(refused.is_status(StatusCode::PAYLOAD_TOO_LARGE), "{refused}");
    let edu = json!({"edu_type": "m.unknown", "content": {}});
    let refused = pair.send("edus", &[], &vec![edu.clone(); 101]).await.unwrap_err();
    assert!(refused.is_status(StatusCode::PAYLOAD_TOO_LARGE), "{refused}");
    let taken = pair.send("fits", &vec![pdu; 50], &vec![edu; 100]).await.unwrap();
    assert_eq!(taken.pdus, [(said, Ok(()))].into());
}

#[tokio::test(start_paused = true)]
async fn events_are_checked_together_and_apart() {
    let pair = Pair::new().await;
    let said = pair.whisper("hello").await;
    let event = pair.json(&said).await;
    let mut forged = event.clone();
    forged["sender"] = json!("@ann:good");
    let rules = pair.good().room(&pair.room).await.rules.clone();
    let many = (0..80).map(|nth| raw(if nth == 40 { &forged } else { &event })).collect();
    let checked = pair.good().federation().check_pdus(many, &rules).await;
    let refused: Vec<usize> =
        checked.iter().enumerate().filter(|(_, event)| event.is_err()).map(|(at, _)| at).collect();
    assert_eq!((checked.len(), refused), (80, vec![40]));
}
