use std::{sync::Arc, time::Duration};

use engine::Verdict;
use parking_lot::Mutex;
use ruma::OwnedEventId;
use serde_json::{Value, json};

use super::{Pair, nowhere, raw};
use crate::pdus::{
    fill::{MAX_EDGES, MAX_STEPS, STEP},
    gap::{MAX_BYTES, MAX_CALLS},
};

/// Ann's server still works, and took nothing of what was pushed.
async fn assert_unharmed(pair: &Pair) {
    let said = pair.good().say(&pair.room, &pair.ann, "still here").await;
    assert_eq!(pair.good().extremities(&pair.room).await, [said.to_string()].into());
    assert_eq!(pair.good().texts(&pair.room).await, ["still here"]);
    assert!(pair.asked("") <= MAX_CALLS);
    assert!(pair.asked.lock().iter().map(|(_, bytes)| bytes).sum::<usize>() <= MAX_BYTES);
}

#[tokio::test(start_paused = true)]
async fn what_an_event_follows_has_to_be_shown_and_is_not_asked_for_all_the_time() {
    let pair = Pair::new().await;
    pair.script(|path| path.contains("get_missing_events").then(|| json!({"events": []})));
    let (id, event) = pair.forge(&[nowhere(1)], None, "gap").await;
    for (txn, calls) in [("1", 1), ("2", 1), ("3", 1)] {
        assert_eq!(pair.push(txn, std::slice::from_ref(&event)).await[&id], Ok(()));
        assert_eq!(pair.asked(""), calls);
    }
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(pair.push("4", &[event]).await[&id], Ok(()));
    assert_eq!(pair.asked(""), 2);
    assert_unharmed(&pair).await;
}

#[tokio::test(start_paused = true)]
async fn two_who_wait_for_the_same_gap_ask_once() {
    let pair = Pair::new().await;
    let hidden = pair.whisper("hidden").await;
    let one = pair.whisper("one").await;
    let event = pair.json(&one).await;
    let events = std::slice::from_ref(&event);
    let (a, b, c) = tokio::join!(pair.push("a", events), pair.push("b", events), pair.push("c", events));
    assert!([a, b, c].iter().all(|results| results[&one] == Ok(())));
    assert_eq!(pair.asked("get_missing_events"), 1);
    assert!(pair.good().accepted(&pair.room).await.contains(hidden.as_str()));
}

#[tokio::test(start_paused = true)]
async fn a_past_without_end_is_walked_only_so_far() {
    let pair = Pair::new().await;
    // Pages of events, each of which follows the first of the next page, for ever.
    let mut pages: Vec<Vec<Value>> = Vec::new();
    let mut behind = vec![nowhere(7)];
    for page in 0..2 * MAX_STEPS {
        let mut events = Vec::new();
        for nth in 0..STEP {
            let (id, event) = pair.forge(&behind, None, &format!("{page} {nth}")).await;
            behind = vec![id];
            events.push(event);
        }
        pages.push(events);
    }
    let (id, event) = pair.forge(&behind, None, "top").await;
    let pages = Arc::new(Mutex::new(pages));
    pair.script(move |path| match path {
        path if path.contains("get_missing_events") => Some(json!({"events": pages.lock().pop().unwrap_or_default()})),
        path if path.contains("/_matrix/key") => None,
        _ => Some(Value::Null),
    });
    assert_eq!(pair.push("1", &[event]).await[&id], Ok(()));
    assert_eq!(pair.asked("get_missing_events"), MAX_STEPS);
    assert!(pair.asked("") <= MAX_STEPS + 2 * MAX_EDGES, "{:?}", pair.asked.lock());
    assert_unharmed(&pair).await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_with_many_ends_is_asked_about_at_a_few() {
    let pair = Pair::new().await;
    let mut wide = Vec::new();
    let mut ids: Vec<OwnedEventId> = Vec::new();
    for nth in 0..STEP - 1 {
        let prev: Vec<OwnedEventId> = (0..20).map(|at| nowhere(nth * 20 + at)).collect();
        let (id, event) = pair.forge(&prev, None, &nth.to_string()).await;
        ids.push(id);
        wide.push(event);
    }
    let (id, event) = pair.forge(&ids, None, "top").await;
    pair.script(
        move |path| {
            if path.contains("get_missing_events") { Some(json!({"events": wide})) } else { Some(Value::Null) }
        },
    );
    assert_eq!(pair.push("1", &[event]).await[&id], Ok(()));
    assert_eq!(pair.asked("get_missing_events"), 1);
    assert_eq!(pair.asked("/event/"), MAX_EDGES);
    assert_unharmed(&pair).await;
}

#[tokio::test(start_paused = true)]
async fn auth_events_of_another_room_are_none() {
    let pair = Pair::new().await;
    let other = pair.evil().create_room(&pair.mallory, ruma::RoomVersionId::V11).await;
    let foreign = pair.evil().rows(&other).await;
    let cited = OwnedEventId::try_from(foreign[1].event_id()).unwrap();
    let ends = pair.good().extremities(&pair.room).await;
    let prev: Vec<OwnedEventId> = ends.iter().map(|id| OwnedEventId::try_from(id.as_str()).unwrap()).collect();
    let chain: Vec<Value> = foreign.iter().map(|row| serde_json::from_str(row.json()).unwrap()).collect();
    let (id, event) = pair.forge(&prev, Some(std::slice::from_ref(&cited)), "by the rules of elsewhere").await;
    let given = chain[1].clone();
    pair.script(move |path| match path {
        path if path.contains("event_auth") => Some(json!({"auth_chain": chain})),
        path if path.contains("/event/") => Some(json!({"origin": "evil", "origin_server_ts": 1, "pdus": [given]})),
        _ => None,
    });
    let before = pair.good().rows(&pair.room).await.len();
    assert_eq!(pair.push("1", &[event]).await[&id], Ok(()));
    assert_eq!(pair.good().rows(&pair.room).await.len(), before);
    assert!(pair.good().engine().find_event_anywhere(cited.as_str()).await.unwrap().is_none());
    assert!(pair.asked("") <= 4, "{:?}", pair.asked.lock());
    assert_unharmed(&pair).await;
}

fn raw_is_canonical(value: &Value) -> bool {
    ruma::CanonicalJsonValue::try_from(value.clone()).is_ok()
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_costs_no_request() {
    let pair = Pair::new().await;
    let (_, event) = pair.forge(&[nowhere(1)], None, "fine").await;
    let with = |field: &str, value: Value| {
        let mut event = event.clone();
        event[field] = value;
        // A server whose key nobody knows: looking for it would be seen.
        event["sender"] = json!("@someone:stranger");
        event["signatures"] = json!({"stranger": {"ed25519:x": "AAAA"}});
        event
    };
    let prev: Vec<String> = (0..10_000).map(|nth| nowhere(nth).to_string()).collect();
    let mut deep = json!({});
    for _ in 0..110 {
        deep = json!({"deeper": deep});
    }
    let bad = [
        with("prev_events", json!(prev)),
        with("auth_events", json!(prev[..11])),
        with("depth", json!(9_007_199_254_740_992_u64)),
        with("depth", json!(-1)),
        with("content", json!({"huge": 9_007_199_254_740_992_u64})),
        with("content", json!({"float": 1.5})),
        with("content", deep),
        with("content", json!({"long": "x".repeat(70_000)})),
        with("state_key", json!("x".repeat(300))),
        with("origin_server_ts", json!("now")),
        json!({"room_id": pair.room}),
        json!([1, 2]),
        json!(null),
    ];
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    pair.world.mesh.judge(move |from, _| {
        *counted.lock() += usize::from(from == "good");
        crate::testing::Fate::DELIVERED
    });
    let rules = pair.good().room(&pair.room).await.rules.clone();
    let checked = pair.good().federation().check_pdus(bad.iter().map(raw).collect(), &rules).await;
    assert!(checked.iter().all(Result::is_err), "{checked:?}");
    assert_eq!(*calls.lock(), 0);
    // A transaction as a whole is canonical, or nobody can have signed it.
    let canonical: Vec<Value> = bad.into_iter().filter(raw_is_canonical).collect();
    assert_eq!(canonical.len(), 10);
    let results = pair.push("1", &canonical).await;
    assert!(results.values().all(Result::is_err), "{results:?}");
    assert_eq!(*calls.lock(), 0);
    assert_unharmed(&pair).await;
}

#[tokio::test(start_paused = true)]
async fn unknown_rooms_cost_a_look_up() {
    let pair = Pair::new().await;
    let (_, event) = pair.forge(&[nowhere(1)], None, "fine").await;
    let flood: Vec<Value> = (0..50)
        .map(|nth| {
            let mut event = event.clone();
            event["room_id"] = json!(format!("!{nth}:stranger"));
            event
        })
        .collect();
    let gets = pair.good().engine().db.stats().snapshot().gets;
    assert_eq!(pair.push("1", &flood).await, [].into());
    assert!(pair.good().engine().db.stats().snapshot().gets - gets <= 60);
    assert_eq!(pair.asked(""), 0);
    assert_unharmed(&pair).await;
}

#[tokio::test(start_paused = true)]
async fn a_forged_event_and_a_denied_server_are_refused() {
    let pair = Pair::new().await;
    let said = pair.whisper("hello").await;
    let event = pair.json(&said).await;
    let mut forged = event.clone();
    forged["signatures"]["evil"]["ed25519:k1"] = json!("A".repeat(86));
    assert!(pair.push("1", &[forged]).await[&said].is_err());
    // Another content under the same signature: its hash is wrong, so what is left is what redaction leaves.
    let mut emptied = event.clone();
    emptied["content"] = json!({"body": "bought for a song"});
    assert_eq!(pair.push("2", &[emptied]).await[&said], Ok(()));
    let rows = pair.good().rows(&pair.room).await;
    let row = rows.iter().find(|row| row.event_id() == said.as_str()).unwrap();
    assert_eq!(row.content(), "{}");

    let acl = json!({"allow": ["*"], "deny": ["evil"]});
    pair.good().set(&pair.room, &pair.ann, "m.room.server_acl", "", acl).await.unwrap();
    let late = pair.whisper("late").await;
    assert!(pair.push("3", &[pair.json(&late).await]).await[&late].is_err());
    assert!(!pair.good().accepted(&pair.room).await.contains(late.as_str()));
}

#[tokio::test(start_paused = true)]
async fn what_the_rules_refuse_is_answered_as_taken_and_is_no_part_of_the_room() {
    let pair = Pair::new().await;
    let (good, room) = (pair.good(), pair.good().room(&pair.room).await);
    let tip: Vec<OwnedEventId> =
        good.extremities(&pair.room).await.into_iter().map(|id| OwnedEventId::try_from(id).unwrap()).collect();
    let mut cited = Vec::new();
    for (kind, key) in [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", pair.mallory.as_str())] {
        let row = good.engine().current_event(room.num, kind, key).await.unwrap().unwrap();
        cited.push(OwnedEventId::try_from(row.event_id()).unwrap());
    }
    let (rejected, unvouched) = pair.forge(&tip, Some(&cited[..2]), "without a membership").await;
    let (soft_failed, late) = pair.forge(&tip, Some(&cited), "from before the ban").await;
    good.member(&pair.room, &pair.ann, &pair.mallory, "ban").await.unwrap();
    let results = pair.push("1", &[unvouched, late]).await;
    // Both are dealt with: sending them again, or asking why, would change nothing.
    assert_eq!(results, [(rejected.clone(), Ok(())), (soft_failed.clone(), Ok(()))].into());
    let rows = good.rows(&pair.room).await;
    let verdict = |id: &OwnedEventId| rows.iter().find(|row| row.event_id() == id.as_str()).unwrap().verdict();
    assert_eq!((verdict(&rejected), verdict(&soft_failed)), (Verdict::Rejected, Verdict::SoftFailed));
    assert_unharmed(&pair).await;
}
