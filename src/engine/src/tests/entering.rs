//! Rooms of other servers, entered with what those say of their state.

use std::{collections::BTreeSet, sync::Arc};

use ::room::check::ReceivedEvent;
use ruma::{EventId, OwnedEventId, RoomVersionId};
use serde_json::json;

use super::peer::{ALICE, BOB, CAROL, Peer, assert_same, verdict};
use crate::{EngineError, Membership, Received, RemoteRoom, Room, Verdict, Viewer, tables::EVENTS};

const VERSIONS: [RoomVersionId; 4] = [RoomVersionId::V3, RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12];

/// What a server answers to a join: the event as it took it in, with the state before it and what allows that.
pub(super) async fn answer(host: &Peer, room: &Arc<Room>, event: &ReceivedEvent) -> RemoteRoom {
    let row = host.row(room, &event.pdu.event_id).await;
    let mut state = Vec::new();
    let mut open: Vec<OwnedEventId> = event.pdu.auth_events.clone();
    for (_, _, num) in host.engine.entries_at(room.num, row.state_before()).await.unwrap() {
        let id = host.engine.event(room.num, num).await.unwrap().event_id().to_owned();
        let received = host.wire(room, &EventId::parse(id).unwrap()).await;
        open.extend(received.pdu.auth_events.clone());
        state.push(received);
    }
    let (mut auth_chain, mut seen) = (Vec::new(), BTreeSet::new());
    while let Some(id) = open.pop() {
        if seen.insert(id.clone()) {
            let received = host.wire(room, &id).await;
            open.extend(received.pdu.auth_events.clone());
            auth_chain.push(received);
        }
    }
    RemoteRoom { version: room.version.clone(), auth_chain, state, event: event.clone() }
}

/// A user of `guest` joins by way of `host`.
pub(super) async fn enter(host: &Peer, room: &Arc<Room>, guest: &Peer, user: &str) -> Arc<Room> {
    let ends: Vec<OwnedEventId> = host.ends(room).await.into_iter().collect();
    let ends: Vec<&EventId> = ends.iter().map(|id| &**id).collect();
    let join =
        guest.sign_at((host, room), &ends, (user, "m.room.member", Some(user)), json!({"membership": "join"})).await;
    assert_eq!(verdict(&host.engine.receive(room, join.clone()).await.unwrap()), Verdict::Accepted);
    guest.engine.enter(answer(host, room, &join).await).await.unwrap()
}

async fn can_see(peer: &Peer, room: &Arc<Room>, user: &str, id: &EventId) -> bool {
    let user = <&ruma::UserId>::try_from(user).unwrap();
    let num = peer.engine.user_num(user).await.unwrap();
    let viewer = Viewer { user_id: user, num, place: peer.engine.user_rooms().get(num, room.num).await.unwrap() };
    peer.engine.can_see(room.num, &viewer, &peer.row(room, id).await).await.unwrap()
}

#[tokio::test]
async fn a_room_is_entered_and_goes_on() {
    for version in VERSIONS {
        let (one, two) = (Peer::new("one"), Peer::new("two"));
        let room = one.create(&version).await;
        one.topic(&room, ALICE, "first").await;
        let said = one.say(&room, ALICE, "before").await;
        let copy = enter(&one, &room, &two, BOB).await;
        assert_same((&one, &room), (&two, &copy)).await;
        assert_eq!((copy.info().joined, copy.info().local_members.len()), (2, 1));
        assert_eq!(two.place(&copy, BOB).await, Some(Membership::Join));
        // The state is known by reference alone; of the history before there is nothing.
        let stream = two.engine.stream(copy.num, 0, u64::MAX - 1, 100, crate::Direction::Forward).await.unwrap();
        assert_eq!(stream.len(), 1);
        assert_eq!(two.engine.find_event(copy.num, said.as_str()).await.unwrap(), None);
        let gaps = two.engine.gaps(&copy).await.unwrap();
        assert_eq!(gaps.iter().map(|gap| &gap.event_id).collect::<Vec<_>>(), [&said]);

        for n in 0..3 {
            let id = one.topic(&room, ALICE, &format!("topic {n}")).await;
            assert_eq!(verdict(&one.give(&room, &id, (&two, &copy)).await), Verdict::Accepted);
            let id = two.say(&copy, BOB, &format!("message {n}")).await;
            assert_eq!(verdict(&two.give(&copy, &id, (&one, &room)).await), Verdict::Accepted);
        }
        let (ours, theirs) = (one.topic(&room, ALICE, "ours").await, two.topic(&copy, BOB, "theirs").await);
        one.pass(&room, &ours, (&two, &copy)).await;
        two.pass(&copy, &theirs, (&one, &room)).await;
        assert_same((&one, &room), (&two, &copy)).await;

        let (id, before) = (copy.id.clone(), two.state(&copy).await);
        drop(copy);
        let two = two.restarted();
        let copy = two.engine.room(&id).await.unwrap();
        assert_eq!(two.state(&copy).await, before);
        assert_same((&one, &room), (&two, &copy)).await;
    }
}
