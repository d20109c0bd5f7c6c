//! What events follow and cite: circles, ends that are none, other rooms, two stories for two servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use ruma::{OwnedEventId, RoomVersionId};
use serde_json::{Value, json};

use super::{
    super::{Pair, nowhere, raw},
    forge::{Forgery, Gap, last_part, one_event},
};
use crate::pdus::fill::{MAX_STEPS, STEP};

fn event_id(id: &str) -> OwnedEventId {
    OwnedEventId::try_from(id).unwrap()
}

fn story(text: &str) -> Value {
    json!({"body": text})
}

/// Two events that follow each other, where their server chooses their ids.
async fn circle(pair: &Pair) -> [(OwnedEventId, Value); 2] {
    let ids = ["$a:evil", "$b:evil"];
    let half = async |own: usize| {
        let prev = Some(vec![event_id(ids[1 - own])]);
        pair.make(Forgery { prev, id: Some(ids[own]), content: story(ids[own]), ..Forgery::default() }).await
    };
    [half(0).await, half(1).await]
}

/// A circle of events, of which the server tells but not of the state before them.
pub(super) async fn circles_of_history(pair: &Pair) {
    let [(a, a_json), (b, b_json)] = circle(pair).await;
    let events = BTreeMap::from([(a.to_string(), a_json.clone()), (b.to_string(), b_json.clone())]);
    pair.script(move |path| match path {
        path if path.contains("get_missing_events") => Some(json!({"events": [b_json, a_json]})),
        path if path.contains("/event/") => Some(events.get(&last_part(path)).map_or(Value::Null, one_event)),
        path if path.contains("/_matrix/key") => None,
        _ => Some(Value::Null),
    });
    let texts = pair.good().texts(&pair.room).await;
    let (_, event) = pair.behind(std::slice::from_ref(&a), "top").await;
    assert!(pair.push("1", &[event]).await.values().all(Result::is_ok));
    assert!(!pair.has(&a).await && !pair.has(&b).await);
    assert!(pair.good().texts(&pair.room).await.starts_with(&texts));
}

/// The same circle, with a state to begin it anywhere: it is taken in, and nobody runs round in it.
pub(super) async fn circles_with_a_state(pair: &Pair) {
    let [(a, a_json), (b, b_json)] = circle(pair).await;
    let events = BTreeMap::from([(a.to_string(), a_json.clone()), (b.to_string(), b_json.clone())]);
    let state = pair.state_ids().await;
    pair.script(move |path| match path {
        path if path.contains("get_missing_events") => Some(json!({"events": [a_json]})),
        path if path.contains("/event/") => Some(events.get(&last_part(path)).map_or(Value::Null, one_event)),
        path if path.contains("state_ids") => Some(json!({"pdu_ids": state, "auth_chain_ids": []})),
        path if path.contains("/_matrix/key") => None,
        _ => Some(Value::Null),
    });
    for (txn, id) in [("1", &a), ("2", &b)] {
        let (_, event) = pair.behind(std::slice::from_ref(id), "top").await;
        let _ = pair.push(txn, &[event]).await;
    }
    // Whatever of it was taken: walks through the room end.
    let (engine, room) = (pair.good().engine(), pair.good().room(&pair.room).await);
    let ends = pair.ends().await;
    for walk in [
        engine.missing_events(&room, &[], &ends, 1000, 0).await.unwrap(),
        engine.backfill(&room, &ends, 1000).await.unwrap(),
    ] {
        let once: BTreeSet<_> = walk.iter().map(|(num, _)| num).collect();
        assert_eq!(once.len(), walk.len(), "an event is given twice");
    }
    pair.good().say(&pair.room, &pair.ann, "behind the circle").await;
    assert!(pair.ends().await.len() <= 2);
}

/// Events that allow each other.
pub(super) async fn circles_of_authority(pair: &Pair) {
    let ids = ["$a:evil", "$b:evil"];
    let base = [pair.entry("m.room.create", "").await.unwrap(), pair.entry("m.room.power_levels", "").await.unwrap()];
    let mut made = Vec::new();
    for own in [0, 1] {
        let mut auth = base.to_vec();
        auth.push(event_id(ids[1 - own]));
        let forgery = Forgery {
            kind: "m.room.member",
            state_key: Some(pair.mallory.as_str()),
            content: json!({"membership": "join"}),
            auth: Some(auth),
            id: Some(ids[own]),
            ..Forgery::default()
        };
        made.push(pair.make(forgery).await);
    }
    let events: BTreeMap<String, Value> = made.iter().map(|(id, event)| (id.to_string(), event.clone())).collect();
    let chain: Vec<Value> = events.values().cloned().collect();
    pair.script(move |path| match path {
        path if path.contains("event_auth") => Some(json!({"auth_chain": chain})),
        path if path.contains("/event/") => Some(events.get(&last_part(path)).map_or(Value::Null, one_event)),
        _ => None,
    });
    for (nth, (id, event)) in made.iter().enumerate() {
        assert!(pair.push(&nth.to_string(), std::slice::from_ref(event)).await[id].is_ok());
        assert!(!pair.has(id).await);
    }
}

/// One id for two events, where their server chooses ids.
pub(super) async fn one_id_for_two(pair: &Pair) {
    let twin = async |text: &str| {
        pair.make(Forgery { id: Some("$twin:evil"), content: story(text), ..Forgery::default() }).await
    };
    let ((id, one), (_, two)) = (twin("one").await, twin("two").await);
    assert_eq!(pair.push("1", std::slice::from_ref(&one)).await[&id], Ok(()));
    let _ = pair.push("2", &[two.clone(), one, two]).await;
    let said = pair.good().texts(&pair.room).await;
    assert_eq!(said.iter().filter(|text| *text == "one" || *text == "two").collect::<Vec<_>>(), ["one"]);
}

/// Events that another room allows.
pub(super) async fn auth_events_of_another_room(pair: &Pair) {
    let version = pair.good().room(&pair.room).await.version.clone();
    let other = pair.evil().create_room(&pair.mallory, version).await;
    let foreign = pair.evil().rows(&other).await;
    let chain: Vec<Value> = foreign.iter().map(|row| serde_json::from_str(row.json()).unwrap()).collect();
    let cited: Vec<OwnedEventId> = foreign.iter().take(3).map(|row| event_id(row.event_id())).collect();
    let given: BTreeMap<String, Value> =
        cited.iter().zip(&chain).map(|(id, event)| (id.to_string(), event.clone())).collect();
    let (id, event) = pair.make(Forgery { auth: Some(cited.clone()), ..Forgery::default() }).await;
    pair.script(move |path| match path {
        path if path.contains("event_auth") => Some(json!({"auth_chain": chain})),
        path if path.contains("/event/") => Some(given.get(&last_part(path)).map_or(Value::Null, one_event)),
        _ => None,
    });
    assert!(pair.push("1", &[event]).await[&id].is_ok());
    for id in cited {
        assert!(!pair.has(&id).await);
    }
}

/// Every event cites ten more that are nowhere else, for ever.
pub(super) async fn authority_without_end(pair: &Pair) {
    let mut level: Vec<OwnedEventId> = (0..10).map(nowhere).collect();
    let mut events: BTreeMap<String, Value> = BTreeMap::new();
    for depth in 0..8 {
        let mut above = Vec::new();
        for nth in 0..10 {
            let auth = Some(level.clone());
            let text = format!("{depth} {nth}");
            let (id, event) = pair.make(Forgery { auth, content: story(&text), ..Forgery::default() }).await;
            events.insert(id.to_string(), event);
            above.push(id);
        }
        level = above;
    }
    let (id, event) = pair.make(Forgery { auth: Some(level), ..Forgery::default() }).await;
    pair.script(move |path| match path {
        path if path.contains("/event/") => Some(events.get(&last_part(path)).map_or(Value::Null, one_event)),
        path if path.contains("/_matrix/key") => None,
        _ => Some(Value::Null),
    });
    assert!(pair.push("1", &[event]).await[&id].is_ok());
}

/// An auth chain with a thousand events that have nothing to do with what was asked about.
pub(super) async fn authority_with_strangers(pair: &Pair) {
    let mut chain = Vec::new();
    for nth in 0..1000 {
        let key = nth.to_string();
        let forgery = Forgery { kind: "x.junk", state_key: Some(&key), content: json!({}), ..Forgery::default() };
        chain.push(pair.make(forgery).await.1);
    }
    // What the event does cite is among them.
    let mut cited = vec![pair.entry("m.room.create", "").await.unwrap()];
    let member = Forgery {
        kind: "m.room.member",
        state_key: Some(pair.mallory.as_str()),
        content: json!({"membership": "join", "displayname": "M"}),
        ..Forgery::default()
    };
    let (member, member_json) = pair.make(member).await;
    cited.extend([member.clone(), pair.entry("m.room.power_levels", "").await.unwrap()]);
    chain.push(member_json);
    let (id, event) = pair.make(Forgery { auth: Some(cited), ..Forgery::default() }).await;
    pair.script(move |path| path.contains("event_auth").then(|| json!({"auth_chain": chain})));
    let _ = pair.push("1", &[event]).await;
    assert!(pair.has(&member).await && pair.has(&id).await);
}

/// A past that goes on for ever.
pub(super) async fn history_without_end(pair: &Pair) {
    let mut pages: Vec<Vec<Value>> = Vec::new();
    let mut behind = vec![nowhere(7)];
    for page in 0..2 * MAX_STEPS {
        let mut events = Vec::new();
        for nth in 0..STEP {
            let (id, event) = pair.behind(&behind, &format!("{page} {nth}")).await;
            behind = vec![id];
            events.push(event);
        }
        pages.push(events);
    }
    let (id, event) = pair.behind(&behind, "top").await;
    let pages = Arc::new(Mutex::new(pages));
    pair.script(move |path| match path {
        path if path.contains("get_missing_events") => Some(json!({"events": pages.lock().pop().unwrap_or_default()})),
        path if path.contains("/_matrix/key") => None,
        _ => Some(Value::Null),
    });
    assert!(pair.push("1", std::slice::from_ref(&event)).await[&id].is_ok());
    // It is not asked for again at once.
    assert!(pair.push("2", &[event]).await[&id].is_ok());
}

/// The same page of a past whenever more of it is asked for, and with every answer one that is larger than what was asked for.
pub(super) async fn the_same_page(pair: &Pair) {
    let mut page = Vec::new();
    let mut behind = vec![nowhere(3)];
    for nth in 0..5 * STEP {
        let (id, event) = pair.behind(&behind, &nth.to_string()).await;
        behind = vec![id];
        page.push(event);
    }
    let (id, event) = pair.behind(&behind, "top").await;
    page.reverse();
    pair.script(move |path| match path {
        path if path.contains("get_missing_events") => Some(json!({"events": page})),
        path if path.contains("/_matrix/key") => None,
        _ => Some(Value::Null),
    });
    assert!(pair.push("1", &[event]).await[&id].is_ok());
}

/// Older history without end, for somebody who reads back: with every page a hundred events behind which there are more.
pub(super) async fn backfill_without_end(pair: &Pair) {
    // A gap to read back into: an event behind one that nobody has, at a state that is told.
    let state = pair.state_ids().await;
    let gap = Gap::new(pair, 1).await;
    let mut made: Vec<Value> = Vec::new();
    for nth in 0..100 {
        made.push(pair.behind(&[nowhere(1000 + nth)], &format!("old {nth}")).await.1);
    }
    gap.script(pair, move |path| match path {
        path if path.contains("state_ids") => Some(json!({"pdu_ids": state, "auth_chain_ids": []})),
        path if path.contains("backfill") => Some(json!({"origin": "evil", "origin_server_ts": 1, "pdus": made})),
        _ => None,
    });
    assert_eq!(pair.push("1", &[gap.top_json]).await[&gap.top], Ok(()));
    let room = pair.good().room(&pair.room).await;
    let all = (engine::HistoryPoint::START, engine::HistoryPoint::END);
    for _ in 0..10 {
        let _ = pair.good().federation().backfill(&room, all, 100).await;
    }
}

/// A hundred branches from one event, each with another name for the same member.
pub(super) async fn a_hundred_branches(pair: &Pair) {
    let base = pair.ends().await;
    let mut branches = Vec::new();
    for nth in 0..100 {
        let forgery = Forgery {
            kind: "m.room.member",
            state_key: Some(pair.mallory.as_str()),
            content: json!({"membership": "join", "displayname": nth.to_string()}),
            prev: Some(base.clone()),
            ..Forgery::default()
        };
        branches.push(pair.make(forgery).await.1);
    }
    assert!(pair.push_all("branch", &branches).await.iter().all(Result::is_ok));
    let name = &pair.good().content(&pair.room, "m.room.member", pair.mallory.as_str()).await["displayname"];
    assert!(name.is_string());
    for _ in 0..10 {
        pair.good().say(&pair.room, &pair.ann, "joins them").await;
    }
    assert_eq!(pair.ends().await.len(), 1);
}

/// Two events in one place, of which two servers are told one each: they agree once they tell each other.
pub(super) async fn two_stories(pair: &Pair) {
    let third = pair.world.server("third");
    let mut end = pair.ends().await;
    let rules = pair.good().room(&pair.room).await.rules.clone();
    for row in pair.good().rows(&pair.room).await {
        let event = raw(&serde_json::from_str(row.json()).unwrap());
        let event = third.federation().check_pdu(&event, &rules).await.unwrap();
        if row.event_type() == "m.room.create" {
            third.engine().receive_create(event).await.unwrap();
        } else {
            let _ = third.engine().receive(&third.room(&pair.room).await, event).await.unwrap();
        }
    }
    for round in 0..3 {
        let mut stories = Vec::new();
        for side in ["good", "third"] {
            let forgery = Forgery {
                kind: "m.room.member",
                state_key: Some(pair.mallory.as_str()),
                content: json!({"membership": "join", "displayname": format!("{side} {round}")}),
                prev: Some(end.clone()),
                depth: 100 + round,
                ..Forgery::default()
            };
            stories.push(pair.make(forgery).await);
        }
        let [(one, one_json), (two, two_json)] = stories.try_into().unwrap();
        let take = async |server: &crate::testing::TestServer, event: &Value| {
            let event = server.federation().check_pdu(&raw(event), &rules).await.unwrap();
            let _ = server.engine().receive(&server.room(&pair.room).await, event).await.unwrap();
        };
        assert_eq!(pair.push(&round.to_string(), std::slice::from_ref(&one_json)).await[&one], Ok(()));
        take(third, &two_json).await;
        assert!(!pair.has(&two).await);
        // As they come from each other.
        take(pair.good(), &two_json).await;
        take(third, &one_json).await;
        end = vec![one, two];
    }
    let entry = ("m.room.member".to_owned(), pair.mallory.to_string());
    assert_eq!(pair.good().state(&pair.room).await[&entry], third.state(&pair.room).await[&entry]);
    let room = third.room(&pair.room).await;
    assert_eq!(third.engine().check_room(room.num).await.unwrap().findings, Vec::<String>::new());
    assert_eq!(room.version, RoomVersionId::V11);
}
