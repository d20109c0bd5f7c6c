//! What a server tells of rooms' states and events when it is asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering::SeqCst},
    time::Duration,
};

use ruma::OwnedEventId;
use serde_json::{Value, json};

use super::{
    super::{Pair, nowhere},
    ON_THE_WAY,
    forge::{Forgery, Gap, one_event},
};
use crate::testing::Fate;

fn named(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|nth| nowhere(nth).to_string()).collect()
}

/// A state of a hundred thousand events that are nowhere, and a heap of others when they are asked for.
pub(super) async fn a_hundred_thousand_ids(pair: &Pair) {
    let gap = Gap::new(pair, 1).await;
    let (_, stranger) = pair.behind(&[nowhere(9)], &"x".repeat(4000)).await;
    let heap = json!({"pdus": vec![stranger; 2000], "auth_chain": []});
    gap.script(pair, move |path| match path {
        path if path.contains("state_ids") => Some(json!({"pdu_ids": named(10, 100_010), "auth_chain_ids": []})),
        path if path.contains("/state/") => Some(heap.clone()),
        _ => None,
    });
    assert!(pair.push("1", &[gap.top_json]).await[&gap.top].is_ok());
    assert!(!pair.has(&gap.edge).await);
}

/// A state of two thousand genuine events, which is no state that the room ever had.
pub(super) async fn a_state_made_up(pair: &Pair) {
    let gap = Gap::new(pair, 1).await;
    let mut ids: Vec<String> = pair.state_ids().await;
    let mut events = Vec::new();
    for nth in 0..2000 {
        let key = nth.to_string();
        let forgery = Forgery { kind: "x.made.up", state_key: Some(&key), content: json!({}), ..Forgery::default() };
        let (id, event) = pair.make(forgery).await;
        ids.push(id.to_string());
        events.push(event);
    }
    gap.script(pair, move |path| match path {
        path if path.contains("state_ids") => Some(json!({"pdu_ids": ids, "auth_chain_ids": []})),
        path if path.contains("/state/") => Some(json!({"pdus": events, "auth_chain": []})),
        _ => None,
    });
    let _ = pair.push("1", &[gap.top_json]).await;
    // Mallory may not set such events: none of it is the state of the room.
    let state = pair.good().state(&pair.room).await;
    assert!(!state.keys().any(|(kind, _)| kind == "x.made.up"), "{} entries", state.len());
}

/// A state in which Mallory still has the power that she had once.
pub(super) async fn a_state_of_old(pair: &Pair) {
    let levels = |level: i64| json!({"users": {pair.ann.as_str(): 100, pair.mallory.as_str(): level}});
    let set =
        async |level| pair.good().set(&pair.room, &pair.ann, "m.room.power_levels", "", levels(level)).await.unwrap();
    let old = set(50).await;
    let state = pair.state_ids().await;
    let new = set(0).await;
    let gap = Gap::new(pair, 1).await;
    let auth = Some(vec![
        pair.entry("m.room.create", "").await.unwrap(),
        old.clone(),
        pair.entry("m.room.member", pair.mallory.as_str()).await.unwrap(),
    ]);
    let forgery = |prev: &OwnedEventId, auth: &Option<Vec<OwnedEventId>>| Forgery {
        kind: "m.room.topic",
        state_key: Some(""),
        content: json!({"topic": "mine"}),
        prev: Some(vec![prev.clone()]),
        auth: auth.clone(),
        ..Forgery::default()
    };
    let (topic, topic_json) = pair.make(forgery(&gap.edge, &auth)).await;
    gap.script(pair, move |path| path.contains("state_ids").then(|| json!({"pdu_ids": state, "auth_chain_ids": []})));
    let _ = pair.push("1", &[gap.top_json.clone(), topic_json]).await;
    assert!(pair.has(&gap.edge).await, "the gap is closed with the state that was told");
    assert_eq!(pair.entry("m.room.power_levels", "").await, Some(new.clone()));
    assert_ne!(pair.entry("m.room.topic", "").await, Some(topic));
    pair.good().say(&pair.room, &pair.ann, "joins the branches").await;
    assert_eq!(pair.entry("m.room.power_levels", "").await, Some(new));
    assert_eq!(pair.good().content(&pair.room, "m.room.topic", "").await, Value::Null);
}

/// For whatever event is asked for, another one.
pub(super) async fn another_event(pair: &Pair) {
    let gap = Gap::new(pair, 1).await;
    let others: Vec<Value> = {
        let mut others = Vec::new();
        for nth in 0..20 {
            others.push(pair.behind(&pair.ends().await, &format!("other {nth}")).await.1);
        }
        others
    };
    let asked = AtomicUsize::new(0);
    let id = gap.edge.as_str().trim_start_matches('$').to_owned();
    gap.script(pair, move |path| match path {
        path if path.contains("state_ids") => Some(json!({"pdu_ids": named(10, 50), "auth_chain_ids": named(50, 60)})),
        path if path.contains("/event/") && !path.contains(&id) => {
            Some(one_event(&others[asked.fetch_add(1, SeqCst) % others.len()]))
        }
        _ => None,
    });
    assert!(pair.push("1", &[gap.top_json]).await[&gap.top].is_ok());
    assert!(!pair.good().texts(&pair.room).await.iter().any(|text| text.starts_with("other")));
}

/// Twenty gaps at once, for each of which everything is asked and nothing comes of it.
pub(super) async fn many_gaps(pair: &Pair) {
    let mut gaps = BTreeMap::new();
    let mut tops = Vec::new();
    for nth in 0..20 {
        let gap = Gap::new(pair, nth).await;
        tops.push(gap.top_json);
        gaps.insert(gap.edge.as_str().trim_start_matches('$').to_owned(), (gap.edge_json, gap.middle_json));
    }
    let gaps = Arc::new(gaps);
    pair.script(move |path| match path {
        path if path.contains("get_missing_events") => {
            Some(json!({"events": gaps.values().map(|(_, middle)| middle).collect::<Vec<_>>()}))
        }
        path if path.contains("/event/") => {
            Some(gaps.iter().find(|(id, _)| path.contains(*id)).map_or(Value::Null, |(_, (edge, _))| one_event(edge)))
        }
        path if path.contains("/_matrix/key") => None,
        _ => Some(Value::Null),
    });
    assert!(pair.push("1", &tops).await.values().all(Result::is_ok));
    // Nor are they asked about again in the next minute.
    assert!(pair.push("2", &tops).await.values().all(Result::is_ok));
}

/// Answers that never come, to each question a little late.
pub(super) async fn silence(pair: &Pair) {
    let gap = Gap::new(pair, 1).await;
    pair.world.mesh.judge(|from, _| Fate {
        delay: if from == "good" { ON_THE_WAY } else { Duration::ZERO },
        lose_reply: from == "good",
        ..Fate::DELIVERED
    });
    assert!(pair.push("1", std::slice::from_ref(&gap.top_json)).await[&gap.top].is_err());
    assert!(!pair.has(&gap.edge).await);
}

/// Answers each of which takes nearly as long as one may.
pub(super) async fn slowness(pair: &Pair) {
    let gap = Gap::new(pair, 1).await;
    gap.script(pair, |path| {
        path.contains("state_ids").then(|| json!({"pdu_ids": named(10, 60), "auth_chain_ids": []}))
    });
    pair.world.mesh.judge(|from, _| Fate {
        delay: if from == "good" { Duration::from_secs(25) } else { Duration::ZERO },
        ..Fate::DELIVERED
    });
    assert!(pair.push("1", std::slice::from_ref(&gap.top_json)).await[&gap.top].is_ok());
    assert!(!pair.has(&gap.edge).await);
}

/// Answers that are larger than any answer may be.
pub(super) async fn huge_answers(pair: &Pair) {
    let gap = Gap::new(pair, 1).await;
    gap.script(pair, |path| {
        (path.contains("get_missing_events") || path.contains("/event/"))
            .then(|| json!({"events": ["x".repeat(17 << 20)]}))
    });
    assert!(pair.push("1", std::slice::from_ref(&gap.top_json)).await[&gap.top].is_err());
}
