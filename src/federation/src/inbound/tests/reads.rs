use http::{Method, StatusCode};
use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId};
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    CallError, CallLimits,
    remote::RemoteJoin,
    testing::{World, WorldOptions},
};

/// A room of Ann's on `one`.
struct Fixture {
    world: World,
    ann: OwnedUserId,
    ben: OwnedUserId,
    room: OwnedRoomId,
}

async fn fixture(version: RoomVersionId) -> Fixture {
    let world = World::new(&["one", "two"]);
    let one = world.server("one");
    let ann = one.register("ann").await;
    let room = one.create_room(&ann, version).await;
    let ben = world.server("two").register("ben").await;
    Fixture { world, ann, ben, room }
}

impl Fixture {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, CallError> {
        let client = self.world.server("two").federation().client.clone();
        let body = body.map(|body| RawValue::from_string(body.to_string()).unwrap());
        let target = format!("/_matrix/federation/v1/{path}").replace('!', "%21").replace('$', "%24");
        client.json("one".try_into().unwrap(), method, target, body.as_deref(), CallLimits::default()).await
    }

    async fn get(&self, path: &str) -> Result<Value, CallError> {
        self.ask(Method::GET, path, None).await
    }

    /// Everything that reads the room from an event on.
    async fn all(&self, event: &str) -> Vec<(&'static str, Result<Value, CallError>)> {
        let room = &self.room;
        let named = json!({"earliest_events": [], "latest_events": [event], "limit": 5});
        vec![
            ("event", self.get(&format!("event/{event}")).await),
            ("state", self.get(&format!("state/{room}?event_id={event}")).await),
            ("state_ids", self.get(&format!("state_ids/{room}?event_id={event}")).await),
            ("event_auth", self.get(&format!("event_auth/{room}/{event}")).await),
            ("backfill", self.get(&format!("backfill/{room}?v={event}&limit=2")).await),
            ("get_missing_events", self.ask(Method::POST, &format!("get_missing_events/{room}"), Some(named)).await),
            ("timestamp_to_event", self.get(&format!("timestamp_to_event/{room}?ts=0&dir=f")).await),
        ]
    }
}

fn list<'a>(answer: &'a Value, field: &str) -> &'a Vec<Value> {
    answer[field].as_array().unwrap()
}

#[tokio::test]
async fn a_room_is_read_by_servers_that_take_part_alone() {
    for version in [RoomVersionId::V10, RoomVersionId::V12] {
        let fixture = fixture(version).await;
        let one = fixture.world.server("one");
        let said = one.say(&fixture.room, &fixture.ann, "hello").await;
        for (what, answer) in fixture.all(said.as_str()).await {
            assert!(answer.unwrap_err().is_status(StatusCode::FORBIDDEN), "{what}");
        }
        one.member(&fixture.room, &fixture.ben, &fixture.ben, "join").await.unwrap();
        for (what, answer) in fixture.all(said.as_str()).await {
            assert!(answer.is_ok(), "{what}: {answer:?}");
        }
        for (what, answer) in fixture.all("$unknown").await {
            let refused = answer.as_ref().is_err_and(|error| error.is_status(StatusCode::NOT_FOUND));
            let nothing = matches!(what, "backfill" | "get_missing_events" | "timestamp_to_event") && answer.is_ok();
            assert!(refused || nothing, "{what}: {answer:?}");
        }
        let acl = json!({"allow": ["*"], "deny": ["two"]});
        one.set(&fixture.room, &fixture.ann, "m.room.server_acl", "", acl).await.unwrap();
        for (what, answer) in fixture.all(said.as_str()).await {
            // The list says nothing of single events.
            let refused = answer.as_ref().is_err_and(|error| error.is_status(StatusCode::FORBIDDEN));
            assert_eq!(refused, what != "event", "{what}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn events_are_given_as_they_are_stored() {
    let fixture = fixture(RoomVersionId::V11).await;
    let (one, room) = (fixture.world.server("one"), &fixture.room);
    let before = one.state(room).await;
    let said = one.say(room, &fixture.ann, "hello").await;
    one.member(room, &fixture.ben, &fixture.ben, "join").await.unwrap();
    let rows = one.rows(room).await;
    let stored = |id: &str| {
        let row = rows.iter().find(|row| row.event_id() == id).unwrap();
        serde_json::from_str::<Value>(row.json()).unwrap()
    };
    let event = fixture.get(&format!("event/{said}")).await.unwrap();
    assert_eq!((list(&event, "pdus"), &event["origin"]), (&vec![stored(said.as_str())], &json!("one")));

    let ids = fixture.get(&format!("state_ids/{room}?event_id={said}")).await.unwrap();
    let state: std::collections::BTreeSet<&str> = list(&ids, "pdu_ids").iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(state, before.values().map(String::as_str).collect());
    let whole = fixture.get(&format!("state/{room}?event_id={said}")).await.unwrap();
    for (given, named) in [("pdus", "pdu_ids"), ("auth_chain", "auth_chain_ids")] {
        let expected: Vec<Value> = list(&ids, named).iter().map(|id| stored(id.as_str().unwrap())).collect();
        assert_eq!(*list(&whole, given), expected);
    }
    let auth = fixture.get(&format!("event_auth/{room}/{said}")).await.unwrap();
    let auth_events = stored(said.as_str())["auth_events"].clone();
    for id in auth_events.as_array().unwrap() {
        assert!(list(&auth, "auth_chain").contains(&stored(id.as_str().unwrap())));
    }
    assert!(!list(&auth, "auth_chain").contains(&stored(said.as_str())));

    let back = fixture.get(&format!("backfill/{room}?v={said}&limit=2")).await.unwrap();
    let prev = stored(said.as_str())["prev_events"][0].clone();
    assert_eq!(*list(&back, "pdus"), [stored(said.as_str()), stored(prev.as_str().unwrap())]);
    let create = before[&("m.room.create".to_owned(), String::new())].clone();
    let named = json!({"earliest_events": [create], "latest_events": [said], "limit": 50});
    let missing = fixture.ask(Method::POST, &format!("get_missing_events/{room}"), Some(named)).await.unwrap();
    // All between the two, oldest first.
    let between: Vec<Value> =
        rows.iter().skip(1).map(|row| row.event_id()).take_while(|id| *id != said).map(stored).collect();
    assert_eq!(*list(&missing, "events"), between);
}

#[tokio::test]
async fn what_a_server_may_not_see_is_redacted() {
    let fixture = fixture(RoomVersionId::V11).await;
    let (one, room) = (fixture.world.server("one"), &fixture.room);
    let joined = json!({"history_visibility": "joined"});
    one.set(room, &fixture.ann, "m.room.history_visibility", "", joined).await.unwrap();
    let hidden = one.say(room, &fixture.ann, "before").await;
    one.member(room, &fixture.ben, &fixture.ben, "join").await.unwrap();
    let seen = one.say(room, &fixture.ann, "after").await;
    let event = fixture.get(&format!("event/{hidden}")).await.unwrap();
    assert_eq!(event["pdus"][0]["content"], json!({}));
    let event = fixture.get(&format!("event/{seen}")).await.unwrap();
    assert_eq!(event["pdus"][0]["content"]["body"], "after");
    let back = fixture.get(&format!("backfill/{room}?v={seen}&limit=5")).await.unwrap();
    assert!(!back.to_string().contains("before") && back.to_string().contains("after"));
    // Nor is it found by its time.
    let found = fixture.get(&format!("timestamp_to_event/{room}?ts=99999999999999&dir=b")).await.unwrap();
    assert_ne!(found["event_id"], hidden.as_str());
}

#[tokio::test]
async fn no_server_reads_a_room_through_another_ones_events() {
    let fixture = fixture(RoomVersionId::V11).await;
    let one = fixture.world.server("one");
    one.member(&fixture.room, &fixture.ben, &fixture.ben, "join").await.unwrap();
    let private = one.create_room(&fixture.ann, RoomVersionId::V11).await;
    let secret = one.say(&private, &fixture.ann, "secret").await;
    for (what, answer) in fixture.all(secret.as_str()).await {
        let text = format!("{answer:?}");
        assert!(!text.contains("secret") && !text.contains(private.as_str()), "{what}: {text}");
    }
}

/// Of an event that is known by reference a server does not know who may see it: a stripped copy would pass for all there is of it.
#[tokio::test]
async fn what_is_known_by_reference_is_given_whole_or_not_at_all() {
    let options = WorldOptions { outbox: false, ..WorldOptions::default() };
    let world = World::with(&["one", "two"], &options);
    let (one, two) = (world.server("one"), world.server("two"));
    let (ann, ben) = (one.register("ann").await, two.register("ben").await);
    let room = one.create_room(&ann, RoomVersionId::V11).await;
    let join = RemoteJoin {
        user_id: ben.clone(),
        room_id: room.clone(),
        via: vec!["one".try_into().unwrap()],
        content: Map::new(),
        elsewhere: false,
    };
    two.federation().join(join).await.unwrap();
    let said = two.say(&room, &ben, "unheard").await;
    let renamed = json!({"membership": "join", "displayname": "Benjamin"});
    let renamed = two.set(&room, &ben, "m.room.member", ben.as_str(), renamed).await.unwrap();
    let here = one.room(&room).await;
    for row in two.rows(&room).await {
        if [said.as_str(), renamed.as_str()].contains(&row.event_id()) {
            let event = RawValue::from_string(row.json().to_owned()).unwrap();
            let event = one.federation().check_pdu(&event, &here.rules).await.unwrap();
            assert_eq!(one.engine().receive_outliers(&here, vec![event]).await.unwrap().len(), 1);
        }
    }
    let fixture = Fixture { world, ann, ben, room };
    let refused = fixture.get(&format!("event/{said}")).await.unwrap_err();
    assert!(refused.is_status(StatusCode::NOT_FOUND), "{refused}");
    let event = fixture.get(&format!("event/{renamed}")).await.unwrap();
    assert_eq!(event["pdus"][0]["content"]["displayname"], "Benjamin");
}

#[tokio::test(start_paused = true)]
async fn what_is_large_waits_for_a_place() {
    let at = fixture(RoomVersionId::V11).await;
    let (one, two) = (at.world.server("one").federation(), at.world.server("two").federation());
    let soon = std::time::Duration::from_secs(5);
    let joins = || RemoteJoin {
        user_id: at.ben.clone(),
        room_id: at.room.clone(),
        via: vec!["one".try_into().unwrap()],
        content: Map::new(),
        elsewhere: false,
    };
    let places = (one.large_answer().await, one.large_answer().await);
    let mut joining = Box::pin(two.join(joins()));
    assert!(tokio::time::timeout(soon, &mut joining).await.is_err());
    assert_eq!(at.world.server("one").content(&at.room, "m.room.member", at.ben.as_str()).await, Value::Null);
    drop(places);
    joining.await.unwrap();

    let places = (one.large_answer().await, one.large_answer().await);
    let target = crate::inbound::ledger::target(&at.room, None);
    let get = two.client.json("one".try_into().unwrap(), Method::GET, target, None, CallLimits::default());
    let mut getting = Box::pin(get);
    assert!(tokio::time::timeout(soon, &mut getting).await.is_err());
    drop(places);
    let page: Value = getting.await.unwrap();
    assert_eq!(page["pdus"], json!([]));
}
