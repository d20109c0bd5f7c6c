//! What goes to which servers, as rows in the commits.

use std::sync::Arc;

use parking_lot::Mutex;
use ruma::{EventId, OwnedServerName, RoomVersionId};
use serde_json::json;

use super::peer::{ALICE, BOB, Peer, verdict};
use crate::{
    Room, Verdict,
    tables::{EventNum, OUTBOX, ServerNum},
};

const DAVE: &str = "@dave:three";

impl Peer {
    /// What is queued: the server and the event's number, in order.
    async fn queued(&self) -> Vec<(String, EventNum)> {
        let mut out = Vec::new();
        for ((server, _), place) in self.engine.db.scan_all(&OUTBOX, &()).await.unwrap() {
            out.push((self.engine.server_name(server).await.unwrap().unwrap().to_string(), place.num));
        }
        out
    }

    /// The servers to which an event goes.
    async fn receivers(&self, room: &Room, id: &EventId) -> Vec<String> {
        let num = self.engine.find_event(room.num, id.as_str()).await.unwrap().unwrap();
        let mut servers: Vec<_> =
            self.queued().await.into_iter().filter(|(_, event)| *event == num).map(|(server, _)| server).collect();
        servers.sort();
        servers
    }

    async fn names(&self, servers: &[ServerNum]) -> Vec<String> {
        let mut names = Vec::new();
        for server in servers {
            names.push(self.engine.server_name(*server).await.unwrap().unwrap().to_string());
        }
        names
    }
}

/// A room of Alice's (one) in which Bob (two) is.
async fn shared() -> (Peer, Arc<Room>, Peer, Arc<Room>) {
    let (one, two) = (Peer::new("one"), Peer::new("two"));
    let room = one.create(&RoomVersionId::V11).await;
    let copy = two.join(&one, &room).await;
    let joined = two.member(&copy, BOB, BOB, "join").await;
    assert_eq!(verdict(&two.give(&copy, &joined, (&one, &room)).await), Verdict::Accepted);
    (one, room, two, copy)
}

#[tokio::test]
async fn a_room_on_one_server_queues_nothing() {
    let one = Peer::new("one");
    let room = one.create(&RoomVersionId::V11).await;
    one.say(&room, ALICE, "alone").await;
    assert!(one.queued().await.is_empty());
    assert!(one.engine.takes_part(&room, "one".try_into().unwrap()).await.unwrap());
    assert!(!one.engine.takes_part(&room, "two".try_into().unwrap()).await.unwrap());
}

#[tokio::test]
async fn what_happens_here_goes_to_all_others_who_are_there_before_or_after() {
    let (one, room, two, copy) = shared().await;
    // Bob's join was queued where he is, not where it arrived.
    assert!(one.queued().await.is_empty());
    assert_eq!(two.queued().await.iter().map(|(server, _)| server.as_str()).collect::<Vec<_>>(), ["one"]);

    let told: Arc<Mutex<Vec<Vec<ServerNum>>>> = Arc::default();
    let notes = Arc::clone(&told);
    one.engine.on_outgoing(Arc::new(move |servers| notes.lock().push(servers.to_vec())));
    let said = one.say(&room, ALICE, "hello").await;
    assert_eq!(one.receivers(&room, &said).await, ["two"]);
    let topic = one.topic(&room, ALICE, "money").await;
    assert_eq!(one.receivers(&room, &topic).await, ["two"]);
    let told: Vec<Vec<ServerNum>> = told.lock().clone();
    assert_eq!(told.len(), 2);
    assert_eq!(one.names(&told[0]).await, ["two"]);

    // What another server made is its own to send.
    let answer = two.say(&copy, BOB, "hi").await;
    for id in [&said, &topic] {
        one.pass(&room, id, (&two, &copy)).await;
    }
    two.pass(&copy, &answer, (&one, &room)).await;
    assert!(one.receivers(&room, &answer).await.is_empty());

    // The kick is the last that Bob's server gets.
    let kick = one.member(&room, ALICE, BOB, "leave").await;
    assert_eq!(one.receivers(&room, &kick).await, ["two"]);
    let after = one.say(&room, ALICE, "gone").await;
    assert!(one.receivers(&room, &after).await.is_empty());
    assert!(one.engine.servers(&room).await.unwrap().is_empty());
    one.assert_sound(&room).await;
}

#[tokio::test]
async fn who_is_invited_hears_of_it_otherwise_but_of_its_end_from_the_outbox() {
    let (one, room, ..) = shared().await;
    let invite = one.member(&room, ALICE, DAVE, "invite").await;
    assert_eq!(one.receivers(&room, &invite).await, ["two"]);
    let again = one.say(&room, ALICE, "dave?").await;
    assert_eq!(one.receivers(&room, &again).await, ["two"]);
    let revoked = one.member(&room, ALICE, DAVE, "leave").await;
    assert_eq!(one.receivers(&room, &revoked).await, ["three", "two"]);
    let banned = one.member(&room, ALICE, DAVE, "ban").await;
    assert_eq!(one.receivers(&room, &banned).await, ["two"]);
}

#[tokio::test]
async fn a_membership_that_is_relayed_goes_to_the_rest() {
    let (one, room, ..) = shared().await;
    let three = Peer::new("three");
    let copy = three.join(&one, &room).await;
    let joined = three.member(&copy, DAVE, DAVE, "join").await;
    let event = three.wire(&copy, &joined).await;
    let received = one.engine.receive_and_relay(&room, event).await.unwrap();
    assert_eq!(verdict(&received), Verdict::Accepted);
    assert_eq!(one.receivers(&room, &joined).await, ["two"]);
    let said = one.say(&room, ALICE, "welcome").await;
    assert_eq!(one.receivers(&room, &said).await, ["three", "two"]);
    assert_eq!(one.engine.servers(&room).await.unwrap(), ["three", "two"]);

    let id = room.id.clone();
    drop(room);
    let one = one.restarted();
    let room = one.engine.room(&id).await.unwrap();
    assert_eq!(one.engine.servers(&room).await.unwrap(), ["three", "two"]);
    one.assert_sound(&room).await;
}

#[tokio::test]
async fn more_servers_get_an_event_behind_what_is_queued_for_them() {
    let (one, room, ..) = shared().await;
    let said = one.say(&room, ALICE, "a").await;
    one.say(&room, ALICE, "b").await;
    let num = one.engine.find_event(room.num, said.as_str()).await.unwrap().unwrap();
    let servers: Vec<OwnedServerName> = ["two", "one", "four"].map(|name| name.try_into().unwrap()).into();
    one.engine.queue_for(&servers, &room, num).await.unwrap();
    let queued = one.queued().await;
    let of = |name: &str| queued.iter().filter(|(server, _)| server == name).map(|(_, num)| *num).collect::<Vec<_>>();
    assert_eq!(of("two"), [num, num + 1, num]);
    assert_eq!(of("four"), [num]);
    assert!(of("one").is_empty());
}

#[tokio::test]
async fn access_lists_hold_as_soon_as_they_are_set() {
    let (one, room, two, copy) = shared().await;
    let (own, other) = ("one".try_into().unwrap(), "two".try_into().unwrap());
    assert!(one.engine.acl_allows(&room, other).await.unwrap());
    let list = json!({"allow": ["*"], "deny": ["t?o"]});
    let id = one.send(&room, ALICE, "m.room.server_acl", Some(""), list).await.unwrap();
    assert!(!one.engine.acl_allows(&room, other).await.unwrap());
    one.pass(&room, &id, (&two, &copy)).await;
    assert!(two.engine.acl_allows(&copy, other).await.unwrap(), "nobody shuts out themselves");
    assert!(two.engine.acl_allows(&copy, own).await.unwrap());
    let room_id = room.id.clone();
    drop(room);
    let one = one.restarted();
    let room = one.engine.room(&room_id).await.unwrap();
    assert!(!one.engine.acl_allows(&room, other).await.unwrap());
}
