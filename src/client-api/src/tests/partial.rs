//! A room that was entered before all of its members were known, as clients see it.

use std::sync::Arc;

use engine::{EVENTS, OmittedMembers, RemoteRoom, Room, ToldState};
use room::{
    SigningKey,
    check::{ReceivedEvent, check_received},
};
use ruma::{OwnedEventId, ServerName};
use serde_json::Value;

use super::branches::{CAROL, of_carol, shared, take, text};
use crate::testing::TestApp;

const BOB: &str = "@bob:hs";

/// Bob's copy of a room in which Carol is, of whom he was not told.
struct Entered {
    host: TestApp,
    guest: TestApp,
    id: String,
    copy: Arc<Room>,
    join: String,
    carol: ReceivedEvent,
    state: Vec<OwnedEventId>,
}

fn key(server: &ServerName) -> [u8; 32] {
    let seed = if server == "elsewhere" { [9; 32] } else { [7; 32] };
    SigningKey::from_seed(&seed, "k1").unwrap().public_key()
}

impl Entered {
    async fn new() -> Self {
        let host = TestApp::new(&["alice", "bob"]).await;
        let (id, _) = shared(&host).await;
        host.join("bob", &id).await.ok();
        let room = host.app.engine.room(id.as_str().try_into().unwrap()).await.unwrap();
        let mut events = Vec::new();
        for (_, row) in host.app.engine.db.scan_all(&EVENTS, &room.num).await.unwrap() {
            if row.is_state() {
                events.push(check_received(row.json(), &room.rules, |server, _, _| Some(key(server))).unwrap());
            }
        }
        let at = |user: &str, events: &[ReceivedEvent]| {
            events.iter().position(|event| event.pdu.state_key.as_deref() == Some(user)).unwrap()
        };
        let bob = events.remove(at(BOB, &events));
        let state = events.iter().map(|event| event.pdu.event_id.clone()).collect();
        let carol = events.remove(at(CAROL, &events));
        let guest = TestApp::new(&["bob"]).await;
        let elsewhere = "elsewhere".try_into().unwrap();
        let told = RemoteRoom {
            version: room.version.clone(),
            auth_chain: Vec::new(),
            state: events,
            event: bob.clone(),
            omitted: Some(OmittedMembers { via: elsewhere, servers: Vec::new() }),
        };
        let copy = guest.app.engine.enter(told).await.unwrap();
        Self { host, guest, id, copy, join: bob.pdu.event_id.to_string(), carol, state }
    }

    /// Bob's part of the room, and the token behind it; lazily or with everybody.
    async fn sync(&self, lazy: bool, since: Option<&str>) -> (Value, String) {
        let filter = format!("%7B%22room%22:%7B%22state%22:%7B%22lazy_load_members%22:{lazy}%7D%7D%7D");
        let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
        let sync = self.guest.get("bob", &format!("/v3/sync?filter={filter}{since}")).await.ok();
        (sync["rooms"]["join"][&self.id].clone(), sync["next_batch"].as_str().unwrap().to_owned())
    }
}

fn members(room: &Value) -> Vec<&str> {
    let events = room["state"]["events"].as_array().unwrap().iter();
    let members = events.filter(|event| event["type"] == "m.room.member");
    let mut members: Vec<&str> = members.map(|event| event["state_key"].as_str().unwrap()).collect();
    members.sort_unstable();
    members
}

fn texts(room: &Value) -> Vec<&str> {
    let events = room["timeline"]["events"].as_array().unwrap();
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

#[tokio::test]
async fn who_loads_members_lazily_uses_the_room_at_once_and_others_see_it_whole() {
    let world = Entered::new().await;
    let guest = &world.guest;
    guest.say("bob", &world.id, "hello").await;
    guest.app.engine.receive_outliers(&world.copy, vec![world.carol.clone()]).await.unwrap();
    let said = of_carol(&world.host, &world.id, &[&world.join], 20, text("welcome")).await;
    take(guest, &world.id, said).await;

    let (lazy, lazy_since) = world.sync(true, None).await;
    assert_eq!(texts(&lazy), ["hello", "welcome"]);
    assert!(members(&lazy).contains(&CAROL), "who speaks is shown: {lazy}");
    let (eager, eager_since) = world.sync(false, None).await;
    assert!(eager.is_null(), "not before it is whole: {eager}");
    // A message alone does not bring it, either.
    guest.say("bob", &world.id, "anybody else").await;
    let (eager, eager_since) = world.sync(false, Some(&eager_since)).await;
    assert!(eager.is_null(), "{eager}");

    let (_, row) = guest.app.engine.partial_rooms(0).await.unwrap().pop().unwrap();
    let told = ToldState { events: world.state.clone(), then: None };
    guest.app.engine.fill(&world.copy, row.event, &told).await.unwrap();
    let (eager, _) = world.sync(false, Some(&eager_since)).await;
    assert_eq!(texts(&eager), ["hello", "welcome", "anybody else"]);
    assert_eq!(members(&eager), ["@alice:hs", CAROL]);
    assert_eq!(eager["summary"]["m.joined_member_count"], 3);
    let (lazy, _) = world.sync(true, Some(&lazy_since)).await;
    assert_eq!(lazy["summary"]["m.joined_member_count"], 3, "{lazy}");
    let listed = guest.get("bob", &format!("/v3/rooms/{}/joined_members", world.id)).await.ok();
    assert!(listed["joined"][CAROL].is_object(), "{listed}");
}
