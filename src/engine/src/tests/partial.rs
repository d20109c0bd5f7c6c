//! Rooms that are entered before all of their members are known.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedEventId, RoomVersionId};
use serde_json::json;

use super::{
    entering::answer,
    peer::{ALICE, BOB, Peer, assert_same, verdict},
};
use crate::{EngineError, Membership, OmittedMembers, Room, ToldState, Verdict};

const VERSIONS: [RoomVersionId; 4] = [RoomVersionId::V3, RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12];
const DAVE: &str = "@dave:three";
const ERIN: &str = "@erin:three";
const NO_WAIT: Duration = Duration::ZERO;

/// A room of Alice's with Dave and Erin, who are on a third server, and Bob, who enters on a second one without being told of them.
struct Entered {
    one: Peer,
    three: Peer,
    two: Peer,
    room: Arc<Room>,
    at_three: Arc<Room>,
    copy: Arc<Room>,
    /// The state before Bob came.
    state: Vec<OwnedEventId>,
}

fn told(events: &[OwnedEventId]) -> ToldState {
    ToldState { events: events.to_vec(), then: None }
}

impl Entered {
    async fn new(version: &RoomVersionId) -> Self {
        let (one, two, three) = (Peer::new("one"), Peer::new("two"), Peer::new("three"));
        let room = one.create(version).await;
        let at_three = three.join(&one, &room).await;
        for user in [DAVE, ERIN] {
            let joined = three.member(&at_three, user, user, "join").await;
            three.pass(&at_three, &joined, (&one, &room)).await;
        }
        let ends: Vec<OwnedEventId> = one.ends(&room).await.into_iter().collect();
        let ends: Vec<_> = ends.iter().map(|id| &**id).collect();
        let join =
            two.sign_at((&one, &room), &ends, (BOB, "m.room.member", Some(BOB)), json!({"membership": "join"})).await;
        assert_eq!(verdict(&one.engine.receive(&room, join.clone()).await.unwrap()), Verdict::Accepted);
        one.pass(&room, &join.pdu.event_id, (&three, &at_three)).await;
        let mut told = answer(&one, &room, &join).await;
        let state = told.state.iter().map(|event| event.pdu.event_id.clone()).collect();
        told.state.retain(|event| !matches!(event.pdu.state_key.as_deref(), Some(DAVE | ERIN)));
        told.auth_chain.retain(|event| !matches!(event.pdu.state_key.as_deref(), Some(DAVE | ERIN)));
        let servers = ["one", "two", "three"].map(|name| name.try_into().unwrap()).to_vec();
        told.omitted = Some(OmittedMembers { via: "one".try_into().unwrap(), servers });
        let copy = two.engine.enter(told).await.unwrap();
        Self { one, three, two, room, at_three, copy, state }
    }

    /// The event by which Bob came.
    async fn event(&self) -> crate::EventNum {
        let rows = self.two.engine.partial_rooms(0).await.unwrap();
        rows.first().map_or(1, |(_, row)| row.event)
    }

    /// What was left out arrives, and the room is filled with it.
    async fn fill(&self) -> Result<(), EngineError> {
        let mut events = Vec::new();
        for id in &self.state {
            events.push(self.one.wire(&self.room, id).await);
        }
        self.two.engine.receive_outliers(&self.copy, events).await.unwrap();
        let event = self.event().await;
        self.two.engine.fill(&self.copy, event, &told(&self.state)).await
    }
}

#[tokio::test]
async fn a_room_is_used_at_once_and_becomes_whole() {
    for version in VERSIONS {
        let world = Entered::new(&version).await;
        let (two, copy) = (&world.two, &world.copy);
        assert!(copy.info().partial);
        assert!(matches!(two.engine.whole(copy, NO_WAIT).await, Err(EngineError::Partial)));
        // All servers hear of what is said, though none of their users is known.
        let names: Vec<String> = two.engine.servers(copy).await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["one", "three"]);
        let ours = two.say(copy, BOB, "hello").await;
        assert_eq!(verdict(&two.give(copy, &ours, (&world.one, &world.room)).await), Verdict::Accepted);
        // What an event cites is asked for.
        let dave = world.three.state(&world.at_three).await[&("m.room.member".to_owned(), DAVE.to_owned())].clone();
        let dave = world.three.wire(&world.at_three, &OwnedEventId::try_from(dave).unwrap()).await;
        two.engine.receive_outliers(copy, vec![dave]).await.unwrap();
        let theirs = world.three.say(&world.at_three, DAVE, "who are you").await;
        assert_eq!(verdict(&world.three.give(&world.at_three, &theirs, (two, copy)).await), Verdict::Accepted);
        world.three.pass(&world.at_three, &theirs, (&world.one, &world.room)).await;
        two.pass(copy, &ours, (&world.three, &world.at_three)).await;
        let topic = world.one.topic(&world.room, ALICE, "on").await;
        world.one.pass(&world.room, &topic, (two, copy)).await;
        world.one.pass(&world.room, &topic, (&world.three, &world.at_three)).await;
        let report = two.engine.check_room(copy.num).await.unwrap();
        assert_eq!(report.findings, Vec::<String>::new(), "{version}");
        assert_eq!(two.membership(copy, DAVE).await, Membership::Leave);
        let before = two.engine.frontier();
        world.fill().await.unwrap();
        assert!(!copy.info().partial);
        two.engine.whole(copy, NO_WAIT).await.unwrap();
        assert_eq!(two.membership(copy, DAVE).await, Membership::Join);
        assert_same((&world.one, &world.room), (two, copy)).await;
        assert_same((&world.three, &world.at_three), (two, copy)).await;
        // Readers find what came without an event.
        let engine = &two.engine;
        let (old, new) = (
            engine.root_at(copy.num, before).await.unwrap(),
            engine.root_at(copy.num, engine.frontier()).await.unwrap(),
        );
        let came = engine.state_delta(copy.num, old, new).await.unwrap();
        assert_eq!(came.iter().map(|(_, key, _)| key.as_str()).collect::<Vec<_>>(), [DAVE, ERIN]);
        assert!(copy.pulse.filled() > before && copy.pulse.timeline() >= copy.pulse.filled());
        // And the room goes on as any other.
        let next = two.topic(copy, BOB, "next").await;
        two.pass(copy, &next, (&world.one, &world.room)).await;
        assert_same((&world.one, &world.room), (two, copy)).await;
    }
}

#[tokio::test]
async fn a_restart_forgets_neither_that_members_are_missing_nor_that_they_were() {
    let Entered { one, three, two, room, at_three, copy, state } = Entered::new(&RoomVersionId::V11).await;
    let said = one.topic(&room, ALICE, "before").await;
    one.pass(&room, &said, (&two, &copy)).await;
    let id = copy.id.clone();
    drop(copy);
    let two = two.restarted();
    let copy = two.engine.room(&id).await.unwrap();
    assert!(copy.info().partial);
    let (num, row) = two.engine.partial_rooms(0).await.unwrap().remove(0);
    assert_eq!((num, row.servers.len()), (copy.num, 2));
    let names: Vec<String> = two.engine.servers(&copy).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["one", "three"]);
    let world = Entered { one, three, two, room, at_three, copy, state };
    world.fill().await.unwrap();
    assert_same((&world.one, &world.room), (&world.two, &world.copy)).await;
    let (filled, root) = (world.copy.pulse.filled(), world.copy.info().root);
    let Entered { two, copy, .. } = world;
    drop(copy);
    let two = two.restarted();
    let copy = two.engine.room(&id).await.unwrap();
    assert_eq!((copy.pulse.filled(), copy.info().root, copy.info().partial), (filled, root, false));
    assert_eq!(two.engine.partial_rooms(0).await.unwrap(), []);
    two.assert_sound(&copy).await;
}

/// A room from which Erin was banned before Bob came, which his server is not told: it takes what she says behind his join, citing
/// that she was a member once. Gives that event as well, and Bob's join.
async fn with_intruder(version: &RoomVersionId) -> (Entered, OwnedEventId, OwnedEventId) {
    let (one, two, three) = (Peer::new("one"), Peer::new("two"), Peer::new("three"));
    let room = one.create(version).await;
    let at_three = three.join(&one, &room).await;
    let joined = three.member(&at_three, ERIN, ERIN, "join").await;
    three.pass(&at_three, &joined, (&one, &room)).await;
    let ban = one.member(&room, ALICE, ERIN, "ban").await;
    let own = (BOB, "m.room.member", Some(BOB));
    let join = two.sign_at((&one, &room), &[&ban], own, json!({"membership": "join"})).await;
    assert_eq!(verdict(&one.engine.receive(&room, join.clone()).await.unwrap()), Verdict::Accepted);
    let mut told = answer(&one, &room, &join).await;
    let state = told.state.iter().map(|event| event.pdu.event_id.clone()).collect();
    told.state.retain(|event| event.pdu.state_key.as_deref() != Some(ERIN));
    told.omitted = Some(OmittedMembers { via: "one".try_into().unwrap(), servers: Vec::new() });
    let copy = two.engine.enter(told).await.unwrap();
    two.engine.receive_outliers(&copy, vec![one.wire(&room, &joined).await]).await.unwrap();
    let content = json!({"body": "still here", "m.relates_to": {"rel_type": "m.thread", "event_id": joined}});
    let event = (ERIN, "m.room.message", None);
    let said = three.sign_citing((&two, &copy), &join.pdu.event_id, event, content, &joined).await;
    assert_eq!(verdict(&two.engine.receive(&copy, said.clone()).await.unwrap()), Verdict::Accepted, "{version}");
    assert_eq!(two.ends(&copy).await, [said.pdu.event_id.clone()].into());
    (Entered { one, three, two, room, at_three, copy, state }, said.pdu.event_id, join.pdu.event_id)
}

#[tokio::test]
async fn what_the_whole_state_refuses_is_taken_out_again() {
    for version in VERSIONS {
        let (world, said, _) = with_intruder(&version).await;
        let (two, copy) = (&world.two, &world.copy);
        let ours = two.say(copy, BOB, "who is that").await;
        world.fill().await.unwrap();
        assert_eq!(two.row(copy, &said).await.verdict(), Verdict::Rejected, "{version}");
        assert_eq!(two.row(copy, &ours).await.verdict(), Verdict::Accepted);
        assert_eq!(two.membership(copy, ERIN).await, Membership::Ban);
        assert_eq!(two.ends(copy).await, [ours].into());
        two.assert_sound(copy).await;
    }
}

#[tokio::test]
async fn an_end_that_is_taken_out_gives_way_to_what_it_followed() {
    for version in VERSIONS {
        let (world, _, join) = with_intruder(&version).await;
        world.fill().await.unwrap();
        assert_eq!(world.two.ends(&world.copy).await, [join].into());
        assert_same((&world.one, &world.room), (&world.two, &world.copy)).await;
    }
}

#[tokio::test]
async fn nobody_is_judged_by_a_membership_that_is_not_known() {
    let world = Entered::new(&RoomVersionId::V11).await;
    let (two, copy) = (&world.two, &world.copy);
    let kick = two.send(copy, BOB, "m.room.member", Some(DAVE), json!({"membership": "leave"})).await;
    assert!(matches!(kick, Err(EngineError::Partial)), "{kick:?}");
    let carol = "@carol:two";
    let join = two.send(copy, carol, "m.room.member", Some(carol), json!({"membership": "join"})).await;
    assert!(matches!(join, Err(EngineError::Partial)), "{join:?}");
    // One's own name can be changed.
    two.send(copy, BOB, "m.room.member", Some(BOB), json!({"membership": "join", "displayname": "B"})).await.unwrap();
    let waited = two.engine.knows_member(copy, DAVE, Duration::from_secs(60));
    let (waited, filled) = futures::join!(waited, world.fill());
    waited.unwrap();
    filled.unwrap();
    two.send(copy, carol, "m.room.member", Some(carol), json!({"membership": "join"})).await.unwrap();
}

#[tokio::test]
async fn a_state_that_would_not_have_let_us_in_is_not_taken() {
    let world = Entered::new(&RoomVersionId::V11).await;
    let (two, copy) = (&world.two, &world.copy);
    let event = world.event().await;
    let nothing = two.engine.fill(copy, event, &told(&[])).await;
    assert!(matches!(nothing, Err(EngineError::BadEvent(_))), "{nothing:?}");
    let missing = two.engine.fill(copy, event, &told(&world.state)).await;
    assert!(matches!(missing, Err(EngineError::BadEvent(_))), "{missing:?}");
    let bare: Vec<OwnedEventId> = world.state[..1].to_vec();
    let bare = two.engine.fill(copy, event, &told(&bare)).await;
    assert!(matches!(bare, Err(EngineError::Forbidden(_) | EngineError::BadEvent(_))), "{bare:?}");
    assert!(copy.info().partial);
    world.fill().await.unwrap();
    assert_same((&world.one, &world.room), (two, copy)).await;
}

#[tokio::test]
async fn many_events_are_judged_again_some_at_a_time() {
    let world = Entered::new(&RoomVersionId::V12).await;
    let (two, copy) = (&world.two, &world.copy);
    for n in 0..260 {
        let id = if n % 50 == 0 { two.topic(copy, BOB, &n.to_string()).await } else { two.say(copy, BOB, "x").await };
        two.pass(copy, &id, (&world.one, &world.room)).await;
    }
    world.fill().await.unwrap();
    assert_same((&world.one, &world.room), (two, copy)).await;
    assert!(two.log(copy).await.iter().all(|(row, _)| !row.partial_state()));
}

#[tokio::test]
async fn who_leaves_before_the_room_is_whole_may_come_back() {
    let world = Entered::new(&RoomVersionId::V11).await;
    let Entered { one, two, room, copy, .. } = &world;
    let left = two.member(copy, BOB, BOB, "leave").await;
    two.pass(copy, &left, (one, room)).await;
    two.engine.stop_filling(copy).await.unwrap();
    assert!(!copy.info().partial);
    assert_eq!(two.engine.partial_rooms(0).await.unwrap(), []);
    let copy = super::entering::enter(one, room, two, BOB).await;
    assert_same((one, room), (two, &copy)).await;
}

#[tokio::test]
async fn a_state_may_be_told_as_the_one_before_what_it_follows() {
    let world = Entered::new(&RoomVersionId::V11).await;
    let Entered { one, two, room, copy, state, .. } = &world;
    let ErinJoined { before, then } = ErinJoined::of(one, room, state).await;
    let mut events = Vec::new();
    for id in state {
        events.push(one.wire(room, id).await);
    }
    two.engine.receive_outliers(copy, events).await.unwrap();
    let event = world.event().await;
    two.engine.fill(copy, event, &ToldState { events: before, then: Some(then) }).await.unwrap();
    assert_same((one, room), (two, copy)).await;
}

/// The state before Erin came, who came last, and her coming.
struct ErinJoined {
    before: Vec<OwnedEventId>,
    then: OwnedEventId,
}

impl ErinJoined {
    async fn of(one: &Peer, room: &Room, state: &[OwnedEventId]) -> Self {
        let then = one.state(room).await[&("m.room.member".to_owned(), ERIN.to_owned())].clone();
        let then = OwnedEventId::try_from(then).unwrap();
        Self { before: state.iter().filter(|id| **id != then).cloned().collect(), then }
    }
}
