//! What comes in: forms, sizes, signatures, hashes, bodies.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
};
use futures::{StreamExt as _, stream};
use http::StatusCode;
use room::build::MAX_DEPTH;
use ruma::signatures::KeyPair as _;
use serde_json::{Value, json, value::RawValue};
use store::IdKind;
use tower::ServiceExt as _;

use super::{
    super::{Pair, nowhere},
    forge::Forgery,
};
use crate::Api;

/// Fifty events with signatures that their server never made.
pub(super) async fn wrong_signatures(pair: &Pair) {
    let mut forged = Vec::new();
    for nth in 0..50 {
        let (_, mut event) = pair.behind(&pair.ends().await, &nth.to_string()).await;
        event["signatures"]["evil"]["ed25519:k1"] = json!("A".repeat(86));
        forged.push(event);
    }
    let results = pair.push_all("forged", &forged).await;
    assert!(results.len() == 50 && results.iter().all(Result::is_err), "{results:?}");
}

/// Contents that are not those that were hashed: only what redaction leaves is taken.
pub(super) async fn wrong_hashes(pair: &Pair) {
    let mut changed = Vec::new();
    for nth in 0..20 {
        let (_, mut event) = pair.behind(&pair.ends().await, &nth.to_string()).await;
        event["content"] = json!({"body": "bought for a song"});
        changed.push(event);
    }
    assert!(pair.push_all("changed", &changed).await.iter().all(Result::is_ok));
    let texts = pair.good().texts(&pair.room).await;
    assert!(!texts.iter().any(|text| text.contains("song")));
}

/// One event signed five hundred times by keys that nobody has.
pub(super) async fn many_signatures(pair: &Pair) {
    let (id, mut event) = pair.behind(&pair.ends().await, "x").await;
    for nth in 0..500 {
        event["signatures"]["evil"][format!("ed25519:a{nth}")] = json!("A".repeat(86));
    }
    assert!(pair.push("1", &[event]).await[&id].is_err());
    assert!(!pair.has(&id).await);
}

/// The same event fifty times in one transaction, in twenty transactions.
pub(super) async fn the_same_again(pair: &Pair) {
    let (id, event) = pair.behind(&pair.ends().await, "again").await;
    for nth in 0..20 {
        let results = pair.push(&nth.to_string(), &vec![event.clone(); 50]).await;
        assert_eq!(results[&id], Ok(()));
    }
}

/// Depths at the end of what there is, and beyond it.
pub(super) async fn depths(pair: &Pair) {
    let (id, event) = pair.make(Forgery { depth: MAX_DEPTH, ..Forgery::default() }).await;
    let mut beyond = event.clone();
    beyond["depth"] = json!(MAX_DEPTH + 1);
    let mut negative = event.clone();
    negative["depth"] = json!(-1);
    let rules = pair.good().room(&pair.room).await.rules.clone();
    for bad in [beyond, negative.clone()] {
        assert!(pair.good().federation().check_pdu(&super::super::raw(&bad), &rules).await.is_err());
    }
    assert!(pair.push("below", &[negative]).await.values().all(Result::is_err));
    assert_eq!(pair.push("at", &[event]).await[&id], Ok(()));
    // Who comes after it finds a depth still.
    let next = pair.good().say(&pair.room, &pair.ann, "after it").await;
    let rows = pair.good().rows(&pair.room).await;
    let next: Value =
        serde_json::from_str(rows.iter().find(|row| row.event_id() == next.as_str()).unwrap().json()).unwrap();
    assert!(next["depth"].as_u64().unwrap() <= MAX_DEPTH);
}

/// Ten thousand events that one follows, or cites.
pub(super) async fn ten_thousand_references(pair: &Pair) {
    let (_, event) = pair.behind(&[nowhere(1)], "x").await;
    let many: Vec<String> = (0..10_000).map(|nth| nowhere(nth).to_string()).collect();
    // Within the size of an event, beyond the number.
    for (field, count) in [("prev_events", 10_000), ("auth_events", 10_000), ("prev_events", 21), ("auth_events", 11)] {
        let mut event = event.clone();
        event[field] = json!(many[..count]);
        assert!(pair.push(&format!("{field}{count}"), &[event]).await.values().all(Result::is_err));
    }
}

/// Numbers that are none, or too large.
pub(super) async fn numbers(pair: &Pair) {
    let (_, event) = pair.behind(&[nowhere(1)], "x").await;
    let text = event.to_string();
    let rules = pair.good().room(&pair.room).await.rules.clone();
    for number in ["9007199254740992", "-9007199254740992", "1e400", "1.5", "-0", "123456789012345678901234567890"] {
        let odd = text.replacen("\"body\":\"x\"", &format!("\"body\":{number}"), 1);
        let odd = RawValue::from_string(odd).unwrap();
        assert!(pair.good().federation().check_pdu(&odd, &rules).await.is_err(), "{number}");
    }
    for field in ["depth", "origin_server_ts"] {
        let mut odd = event.clone();
        odd[field] = json!(9_007_199_254_740_991_i64);
        odd["hashes"]["sha256"] = json!(9_007_199_254_740_991_i64);
        assert!(pair.push(field, &[odd]).await.values().all(Result::is_err));
    }
}

/// Fields that are there twice: of each the last counts, for the hash, the signature and the reader alike.
pub(super) async fn duplicate_keys(pair: &Pair) {
    let (id, event) = pair.behind(&pair.ends().await, "signed").await;
    let text = event.to_string();
    // The one that was signed is the last: the event is what was signed.
    let first = text.replacen('{', r#"{"content":{"body":"smuggled"},"#, 1);
    assert_eq!(pair.push_text("first", &first).await, StatusCode::OK);
    let row = pair.good().rows(&pair.room).await.into_iter().find(|row| row.event_id() == id.as_str()).unwrap();
    assert_eq!((row.content(), row.json().matches("\"content\"").count()), (r#"{"body":"signed"}"#, 1));

    // The one that was signed is not the last: the hash is wrong, and the content is gone.
    let (id, event) = pair.behind(&pair.ends().await, "signed too").await;
    let text = event.to_string();
    let last = format!(r#"{},"content":{{"body":"smuggled"}}}}"#, &text[..text.len() - 1]);
    assert_eq!(pair.push_text("last", &last).await, StatusCode::OK);
    let row = pair.good().rows(&pair.room).await.into_iter().find(|row| row.event_id() == id.as_str()).unwrap();
    assert_eq!(row.content(), "{}");

    // A room for who looks at the first, and another for who looks at the last.
    let (id, event) = pair.behind(&pair.ends().await, "where").await;
    let text = event.to_string().replacen('{', r#"{"room_id":"!elsewhere:good","#, 1);
    assert_eq!(pair.push_text("rooms", &text).await, StatusCode::OK);
    assert!(!pair.has(&id).await);
}

/// Bodies that are nested without end.
pub(super) async fn nested(pair: &Pair) {
    let (id, event) = pair.behind(&pair.ends().await, "x").await;
    let nested = |levels: usize| {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        event.to_string().replacen("\"body\":\"x\"", &format!("\"body\":{deep}"), 1)
    };
    // One that is too deep for an event costs that event, one that is too deep for any body the whole transaction.
    assert_eq!(pair.push_text("event", &nested(1000)).await, StatusCode::OK);
    assert_eq!(pair.push_text("body", &nested(60_000)).await, StatusCode::BAD_REQUEST);
    assert!(!pair.has(&id).await);
}

/// Bodies that are too large, that never end, and that never go on.
pub(super) async fn bodies(pair: &Pair) {
    let endless = || stream::repeat(Bytes::from_static(&[b' '; 65_536])).map(Ok::<_, Infallible>);
    let stuck = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{"))]).chain(stream::pending());
    for (nth, (body, status)) in [
        (Body::from(vec![b' '; 13 << 20]), StatusCode::PAYLOAD_TOO_LARGE),
        (Body::from_stream(endless()), StatusCode::PAYLOAD_TOO_LARGE),
        (Body::from_stream(stuck), StatusCode::REQUEST_TIMEOUT),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/_matrix/federation/v1/send/body{nth}");
        assert_eq!(pair.request("PUT", &path, body, "").await, status, "{nth}");
    }
    // What has a smaller body by its nature is not read as far.
    let path = "/_matrix/federation/v2/send_join/!r:good/$e";
    let body = Body::from(vec![b' '; 2 << 20]);
    assert_eq!(pair.request("PUT", path, body, "").await, StatusCode::PAYLOAD_TOO_LARGE);
}

/// A thousand events of rooms that nobody knows, about users that there are not.
pub(super) async fn unknown_rooms(pair: &Pair) {
    let (_, event) = pair.behind(&[nowhere(1)], "x").await;
    let flood: Vec<Value> = (0..1000)
        .map(|nth| {
            let mut event = event.clone();
            event["room_id"] = json!(format!("!{nth}:stranger"));
            event["type"] = json!("m.room.member");
            event["state_key"] = json!(format!("@{nth}:good"));
            event
        })
        .collect();
    let before = pair.good().engine().db.stats().snapshot();
    assert!(pair.push_all("flood", &flood).await.is_empty());
    let reads = (pair.good().engine().db.stats().snapshot() - before).reads();
    assert!(reads < 2500, "{reads} reads");
    let ids = &pair.good().engine().ids;
    for nth in [0, 999] {
        assert_eq!(
            ids.find(IdKind::User, &format!("@{nth}:good")).await.unwrap(),
            None,
            "a number was given to nobody"
        );
        assert_eq!(ids.find(IdKind::Room, &format!("!{nth}:stranger")).await.unwrap(), None);
    }
}

/// More transactions at once than a server may have under way, all of which wait for something.
pub(super) async fn at_once(pair: &Pair) {
    pair.script(|path| path.contains("get_missing_events").then(|| json!({"events": []})));
    let mut events = Vec::new();
    for nth in 0..40 {
        events.push(pair.behind(&[nowhere(nth)], "x").await.1);
    }
    let sent = events.iter().enumerate().map(|(nth, event)| {
        let event = event.clone();
        async move { pair.send(&format!("t{nth}"), &[event], &[]).await.map(drop) }
    });
    let refused = futures::future::join_all(sent).await.into_iter().filter(Result::is_err).count();
    assert!(refused >= 24, "{refused} refused");
    // Those that were let in are over, and there is room again.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(pair.send("later", &[], &[]).await.is_ok());
}

impl Pair {
    /// Pushes one event by its text, signed as it stands there or, where it is as it must be, in its canonical form.
    async fn push_text(&self, txn: &str, event: &str) -> StatusCode {
        let body = format!(r#"{{"edus":[],"origin":"evil","origin_server_ts":1,"pdus":[{event}]}}"#);
        let path = format!("/_matrix/federation/v1/send/{txn}");
        let signed = crate::inbound::canonical_form(&body).unwrap();
        self.request("PUT", &path, Body::from(body), &signed).await
    }

    /// A request to `good` past all that keeps an honest server from sending it.
    async fn request(&self, method: &str, path: &str, body: Body, signed: &str) -> StatusCode {
        let content = if signed.is_empty() { String::new() } else { format!("\"content\":{signed},") };
        let text = format!(r#"{{{content}"destination":"good","method":"{method}","origin":"evil","uri":"{path}"}}"#);
        let signature = self.evil().key().sign(text.as_bytes()).base64();
        let claim = format!(r#"X-Matrix origin="evil",destination="good",key="ed25519:k1",sig="{signature}""#);
        let request = Request::builder().method(method).uri(path).header("Authorization", claim).body(body).unwrap();
        let router = http_kit::finish(crate::router().with_state(Api(self.good().federation())));
        router.oneshot(request).await.unwrap().status()
    }
}
