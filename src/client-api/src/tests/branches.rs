//! Rooms in which users of other servers write, too: branches, and gaps that nobody has filled.

use engine::Received;
use room::{EventDraft, SigningKey, auth::auth_types, build::sign, check::ReceivedEvent};
use ruma::{MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UInt, UserId, events::TimelineEventType};
use serde_json::{Value, json, value::to_raw_value};

use crate::testing::TestApp;

pub(super) const CAROL: &str = "@carol:elsewhere";

/// An event of Carol's behind some events, allowed by the state now. Nobody looks at its signature here.
pub(super) async fn of_carol(test: &TestApp, room: &str, prev: &[&str], depth: u64, content: Value) -> ReceivedEvent {
    let (kind, key) = match content.get("membership") {
        Some(_) => (TimelineEventType::RoomMember, Some(CAROL)),
        None => (TimelineEventType::RoomMessage, None),
    };
    let (room, carol) = (<&RoomId>::try_from(room).unwrap(), <&UserId>::try_from(CAROL).unwrap());
    let room = test.app.engine.room(room).await.unwrap();
    let raw = to_raw_value(&content).unwrap();
    let mut auth_events = Vec::new();
    for (kind, key) in auth_types(&kind, carol, key, &raw, &room.rules.authorization).unwrap() {
        let found = test.app.engine.current_event(room.num, &kind.to_string(), &key).await.unwrap();
        auth_events.extend(found.map(|row| OwnedEventId::try_from(row.event_id()).unwrap()));
    }
    let prev: Vec<OwnedEventId> = prev.iter().map(|id| OwnedEventId::try_from(*id).unwrap()).collect();
    let draft = EventDraft {
        room_id: Some(&room.id),
        sender: carol,
        event_type: &kind,
        state_key: key,
        content: raw.get(),
        origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new_saturating(test.app.engine.now())),
        depth,
        prev_events: &prev,
        auth_events: &auth_events,
        redacts: None,
        legacy: None,
    };
    let key = SigningKey::from_seed(&[9; 32], "k1").unwrap();
    let signed = sign(&draft, &room.rules, "elsewhere".try_into().unwrap(), &key).unwrap();
    ReceivedEvent { json: signed.json, pdu: signed.pdu, redacted: false, reference_hash: signed.reference_hash }
}

/// A room of Alice's in which Carol is. Its id, and that of Carol's membership event.
pub(super) async fn shared(test: &TestApp) -> (String, String) {
    let room = test.public_room(&["alice"]).await;
    let first = test.say("alice", &room, "first").await;
    let join = of_carol(test, &room, &[&first], 9, json!({"membership": "join"})).await;
    let id = join.pdu.event_id.to_string();
    take(test, &room, join).await;
    (room, id)
}

pub(super) async fn take(test: &TestApp, room: &str, event: ReceivedEvent) {
    let room = test.app.engine.room(room.try_into().unwrap()).await.unwrap();
    let received = test.app.engine.receive(&room, event).await.unwrap();
    assert!(matches!(received, Received::Stored { verdict: engine::Verdict::Accepted, .. }), "{received:?}");
}

pub(super) fn text(body: &str) -> Value {
    json!({"msgtype": "m.text", "body": body})
}

/// The texts of a list of events.
fn texts(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// Alice's timeline of the room, of at most some events.
async fn timeline(test: &TestApp, room: &str, since: &str, limit: usize) -> (Value, String) {
    let filter = format!("%7B%22room%22:%7B%22timeline%22:%7B%22limit%22:{limit}%7D%7D%7D");
    let sync = test.get("alice", &format!("/v3/sync?filter={filter}{since}")).await.ok();
    (sync["rooms"]["join"][room]["timeline"].clone(), sync["next_batch"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn pages_before_a_timeline_miss_nothing_where_branches_met() {
    let test = TestApp::new(&["alice"]).await;
    let (room, join) = shared(&test).await;
    let (_, since) = timeline(&test, &room, "", 10).await;
    for body in ["1", "2", "3", "4"] {
        test.say("alice", &room, body).await;
    }
    // It comes last and stands where the first of the others does.
    take(&test, &room, of_carol(&test, &room, &[&join], 10, text("apart")).await).await;
    for body in ["5", "6", "7"] {
        test.say("alice", &room, body).await;
    }
    let (part, now) = timeline(&test, &room, &format!("&since={since}"), 4).await;
    assert_eq!(texts(&part["events"]), ["apart", "5", "6", "7"]);
    assert_eq!(part["limited"], true);

    let get = async |query: String| test.get("alice", &format!("/v3/rooms/{room}/messages?{query}")).await.ok();
    let prev = part["prev_batch"].as_str().unwrap();
    let page = get(format!("dir=b&limit=3&from={prev}")).await;
    assert_eq!(texts(&page["chunk"]), ["4", "3", "2"]);
    assert_eq!(page["start"].as_str(), Some(prev));
    let page = get(format!("dir=b&limit=100&from={}", page["end"].as_str().unwrap())).await;
    assert_eq!(texts(&page["chunk"]), ["1", "first"]);
    // The gap from the other end, and what comes after it.
    assert_eq!(texts(&get(format!("dir=b&limit=100&from={prev}&to={since}")).await["chunk"]), ["4", "3", "2", "1"]);
    assert_eq!(texts(&get(format!("dir=f&limit=100&from={prev}")).await["chunk"]), ["5", "6", "7"]);
    // From a `next_batch`, both at once and when more has come.
    for body in ["8", "9"] {
        let page = get(format!("dir=b&limit=100&from={now}")).await;
        assert_eq!(texts(&page["chunk"]), ["7", "6", "5", "4", "3", "2", "apart", "1", "first"]);
        test.say("alice", &room, body).await;
    }
}

#[tokio::test]
async fn a_timeline_begins_behind_a_gap() {
    let test = TestApp::new(&["alice"]).await;
    let (room, _) = shared(&test).await;
    let (_, since) = timeline(&test, &room, "", 10).await;
    test.say("alice", &room, "before").await;
    let here = test.app.engine.room(room.as_str().try_into().unwrap()).await.unwrap();
    let mut state = Vec::new();
    for (.., num) in test.app.engine.current_state(here.num).await.unwrap() {
        let row = test.app.engine.event(here.num, num).await.unwrap();
        state.push(OwnedEventId::try_from(row.event_id()).unwrap());
    }
    let unknown = format!("${:043}", 1);
    let event = of_carol(&test, &room, &[&unknown], 50, text("behind")).await;
    let _ = test.app.engine.receive_at(&here, event, &state).await.unwrap();
    let (part, now) = timeline(&test, &room, &format!("&since={since}"), 10).await;
    assert_eq!((texts(&part["events"]), &part["limited"]), (vec!["behind"], &json!(true)));
    let prev = part["prev_batch"].as_str().unwrap();
    let page = test.get("alice", &format!("/v3/rooms/{room}/messages?dir=b&limit=100&from={prev}")).await.ok();
    assert_eq!(texts(&page["chunk"]), ["before", "first"]);
    let (part, _) = timeline(&test, &room, "", 10).await;
    assert_eq!((texts(&part["events"]), &part["limited"]), (vec!["behind"], &json!(true)));
    test.say("alice", &room, "after").await;
    let (part, _) = timeline(&test, &room, &format!("&since={now}"), 10).await;
    assert_eq!((texts(&part["events"]), &part["limited"]), (vec!["after"], &json!(false)));
}

#[tokio::test]
async fn state_that_lost_is_shown_and_set_right_in_the_next_response() {
    let test = TestApp::new(&["alice"]).await;
    let (room, join) = shared(&test).await;
    let (_, since) = timeline(&test, &room, "", 10).await;
    let named = |name: &str| json!({"membership": "join", "displayname": name});
    let mut both = Vec::new();
    for name in ["one", "other"] {
        both.push(of_carol(&test, &room, &[&join], 10, named(name)).await);
    }
    // The later one of two branches wins, wherever it comes from.
    both.sort_by_key(|event| (event.pdu.origin_server_ts, event.pdu.event_id.clone()));
    let winner = both.pop().unwrap();
    let (loser, won) = (both.pop().unwrap(), winner.pdu.event_id.to_string());
    let lost = loser.pdu.event_id.to_string();
    let said = of_carol(&test, &room, &[&lost], 11, text("said")).await;
    for event in [winner, loser, said] {
        take(&test, &room, event).await;
    }
    let ids = |events: &Value| -> Vec<String> {
        events.as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
    };
    let sync = async |since: &str, more: &str| test.get("alice", &format!("/v3/sync?since={since}{more}")).await.ok();
    let first = sync(&since, "").await;
    let part = &first["rooms"]["join"][&room]["timeline"];
    assert_eq!(ids(&part["events"])[..2], [won.clone(), lost]);
    assert_eq!((texts(&part["events"]), &part["limited"]), (vec!["said"], &json!(false)));
    let next = first["next_batch"].as_str().unwrap();
    let second = sync(next, "&timeout=600000").await;
    let part = &second["rooms"]["join"][&room];
    assert_eq!((ids(&part["state"]["events"]), ids(&part["timeline"]["events"])), (vec![won.clone()], vec![]));
    let third = sync(second["next_batch"].as_str().unwrap(), "").await;
    assert!(third["rooms"].is_null(), "{third}");

    // Who asks for the state behind the timeline is told at once.
    let first = sync(&since, "&use_state_after=true").await;
    assert_eq!(ids(&first["rooms"]["join"][&room]["state_after"]["events"]), [won]);
    let second = sync(first["next_batch"].as_str().unwrap(), "&use_state_after=true").await;
    assert!(second["rooms"].is_null(), "{second}");
}
