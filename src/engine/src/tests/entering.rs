//! Rooms of other servers, entered with what those say of their state.

use std::{collections::BTreeSet, sync::Arc};

use ::room::check::ReceivedEvent;
use ruma::{EventId, OwnedEventId, RoomVersionId, UserId};
use serde_json::json;

use super::peer::{ALICE, BOB, CAROL, Peer, assert_same, verdict};
use crate::{Direction, EngineError, HistoryPoint, Membership, Received, RemoteRoom, Room, Verdict, tables::EVENTS};

const VERSIONS: [RoomVersionId; 5] =
    [RoomVersionId::V1, RoomVersionId::V3, RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12];

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
    RemoteRoom { version: room.version.clone(), auth_chain, state, event: event.clone(), omitted: None }
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

/// Everything that the other side lacks back from its gaps, oldest first, at most `limit`, and the state before the oldest.
async fn older(
    host: (&Peer, &Arc<Room>),
    guest: (&Peer, &Arc<Room>),
    limit: usize,
) -> (Vec<ReceivedEvent>, Vec<OwnedEventId>) {
    let mut open: Vec<OwnedEventId> =
        guest.0.engine.gaps(guest.1).await.unwrap().into_iter().take(1).map(|gap| gap.event_id).collect();
    let (mut events, mut seen) = (Vec::new(), BTreeSet::new());
    while let Some(id) = open.pop() {
        if events.len() < limit && seen.insert(id.clone()) {
            let event = host.0.wire(host.1, &id).await;
            open.extend(event.pdu.prev_events.clone());
            events.push(event);
        }
    }
    events.sort_by_key(|event| event.pdu.depth);
    let state = match events.first() {
        Some(oldest) => state_before(host, &oldest.pdu.event_id).await,
        None => Vec::new(),
    };
    (events, state)
}

async fn state_before((host, room): (&Peer, &Arc<Room>), id: &EventId) -> Vec<OwnedEventId> {
    let mut ids = Vec::new();
    let row = host.row(room, id).await;
    for (_, _, num) in host.engine.entries_at(room.num, row.state_before()).await.unwrap() {
        ids.push(EventId::parse(host.engine.event(room.num, num).await.unwrap().event_id()).unwrap());
    }
    ids
}

/// The ids in the order of history.
async fn history(peer: &Peer, room: &Room) -> Vec<String> {
    let rows = peer.engine.history(room.num, HistoryPoint::START, None, 1000, Direction::Forward).await.unwrap();
    let nums: Vec<_> = rows.into_iter().map(|(_, num)| num).collect();
    let rows = peer.engine.events(room.num, &nums).await.unwrap();
    rows.into_iter().map(|(_, row)| row.event_id().to_owned()).collect()
}

async fn sees(peer: &Peer, room: &Room, user: &str, id: &str) -> bool {
    let user = <&UserId>::try_from(user).unwrap();
    let num = peer.engine.user_num(user).await.unwrap();
    let viewer = peer.engine.viewer(room.num, user, num).await.unwrap();
    peer.engine.visible_event(room, &viewer, id).await.is_ok()
}

#[tokio::test]
async fn history_is_filled_in_behind_in_the_same_order() {
    for version in VERSIONS {
        let (one, two) = (Peer::new("one"), Peer::new("two"));
        let room = one.create(&version).await;
        for n in 0..4 {
            one.say(&room, ALICE, &format!("message {n}")).await;
            one.topic(&room, ALICE, &format!("topic {n}")).await;
        }
        let copy = enter(&one, &room, &two, BOB).await;
        let (state, ends) = (two.state(&copy).await, two.ends(&copy).await);
        let stream = two.engine.stream(copy.num, 0, u64::MAX - 1, 100, Direction::Forward).await.unwrap();
        // Piece by piece, each with the state that the other server names.
        for _ in 0..10 {
            let (events, before) = older((&one, &room), (&two, &copy), 3).await;
            if events.is_empty() {
                break;
            }
            let ids: Vec<OwnedEventId> = events.iter().map(|event| event.pdu.event_id.clone()).collect();
            for id in &before {
                let state = vec![one.wire(&room, id).await];
                two.engine.receive_outliers(&copy, state).await.unwrap();
            }
            for received in two.engine.receive_history(&copy, events, &before).await.unwrap() {
                assert_eq!(verdict(&received), Verdict::Accepted, "{version}");
            }
            let (again, _) = (one.wire(&room, &ids[0]).await, ());
            assert!(matches!(two.engine.receive(&copy, again).await.unwrap(), Received::Known(_)));
            two.assert_sound(&copy).await;
        }
        assert!(two.engine.gaps(&copy).await.unwrap().is_empty());
        let whole = history(&one, &room).await;
        assert_eq!(history(&two, &copy).await, whole);
        assert_eq!((two.state(&copy).await, two.ends(&copy).await), (state, ends));
        assert_eq!(two.engine.stream(copy.num, 0, u64::MAX - 1, 100, Direction::Forward).await.unwrap(), stream);
        // The visibility was shared from the fifth event on; before, as where nothing is said.
        for id in &whole {
            assert!(sees(&two, &copy, BOB, id).await);
            assert!(!sees(&two, &copy, CAROL, id).await);
        }
        assert_same((&one, &room), (&two, &copy)).await;
        let id = copy.id.clone();
        drop(copy);
        let two = two.restarted();
        let copy = two.engine.room(&id).await.unwrap();
        assert_same((&one, &room), (&two, &copy)).await;
    }
}

#[tokio::test]
async fn history_from_before_an_invitation_is_hidden_where_it_is_to_be() {
    let (one, two) = (Peer::new("one"), Peer::new("two"));
    let room = one.create(&RoomVersionId::V11).await;
    let hidden = json!({"history_visibility": "joined"});
    one.send(&room, ALICE, "m.room.history_visibility", Some(""), hidden).await.unwrap();
    let secret = one.say(&room, ALICE, "secret").await;
    let copy = enter(&one, &room, &two, BOB).await;
    let (events, before) = older((&one, &room), (&two, &copy), 1).await;
    assert_eq!(events[0].pdu.event_id, secret);
    let received = two.engine.receive_history(&copy, events, &before).await.unwrap();
    assert_eq!(verdict(&received[0]), Verdict::Accepted);
    assert!(!sees(&two, &copy, BOB, secret.as_str()).await);
    two.assert_sound(&copy).await;
}

#[tokio::test]
async fn who_comes_back_goes_on_from_there() {
    for version in VERSIONS {
        let (one, two) = (Peer::new("one"), Peer::new("two"));
        let room = one.create(&version).await;
        let copy = enter(&one, &room, &two, BOB).await;
        let old = two.say(&copy, BOB, "old").await;
        two.pass(&copy, &old, (&one, &room)).await;
        let left = two.member(&copy, BOB, BOB, "leave").await;
        two.pass(&copy, &left, (&one, &room)).await;
        for n in 0..3 {
            one.topic(&room, ALICE, &format!("meanwhile {n}")).await;
        }
        let again = enter(&one, &room, &two, BOB).await;
        assert_eq!(again.num, copy.num);
        assert_same((&one, &room), (&two, &copy)).await;
        assert_eq!(two.place(&copy, BOB).await, Some(Membership::Join));
        assert!(history(&two, &copy).await.contains(&old.to_string()));
        // What lies between is filled in, and joins what is known.
        let (events, _) = older((&one, &room), (&two, &copy), 3).await;
        for received in two.engine.receive_history(&copy, events, &[]).await.unwrap() {
            assert_eq!(verdict(&received), Verdict::Accepted);
        }
        let (known, whole) = (history(&two, &copy).await, history(&one, &room).await);
        assert_eq!(known[..], whole[whole.len() - known.len()..]);
        let id = two.say(&copy, BOB, "back").await;
        assert_eq!(verdict(&two.give(&copy, &id, (&one, &room)).await), Verdict::Accepted);
        assert_same((&one, &room), (&two, &copy)).await;
    }
}

#[tokio::test]
async fn an_event_whose_past_is_missing_is_taken_with_a_state_that_was_told() {
    for version in VERSIONS {
        let (one, two) = (Peer::new("one"), Peer::new("two"));
        let room = one.create(&version).await;
        let copy = enter(&one, &room, &two, BOB).await;
        let mine = two.topic(&copy, BOB, "mine").await;
        let skipped = one.topic(&room, ALICE, "skipped").await;
        let late = one.say(&room, ALICE, "late").await;
        let event = one.wire(&room, &late).await;
        assert_eq!(two.engine.receive(&copy, event.clone()).await.unwrap(), Received::Missing(vec![skipped.clone()]));
        let before = state_before((&one, &room), &late).await;
        let outliers = vec![one.wire(&room, &skipped).await];
        assert_eq!(two.engine.receive_outliers(&copy, outliers).await.unwrap(), std::slice::from_ref(&skipped));
        two.assert_sound(&copy).await;
        // Known by reference: still not followed, and shown to nobody.
        assert!(matches!(two.engine.receive(&copy, event.clone()).await.unwrap(), Received::Missing(_)));
        assert!(!sees(&two, &copy, BOB, skipped.as_str()).await);
        let num = two.engine.find_event(copy.num, skipped.as_str()).await.unwrap();
        assert_eq!(verdict(&two.engine.receive_at(&copy, event, &before).await.unwrap()), Verdict::Accepted);
        assert_eq!(two.ends(&copy).await, [mine.clone(), late.clone()].into());
        two.assert_sound(&copy).await;

        // What was missing comes after all: under its old number, and not as an end.
        assert_eq!(verdict(&one.give(&room, &skipped, (&two, &copy)).await), Verdict::Accepted);
        assert_eq!(two.engine.find_event(copy.num, skipped.as_str()).await.unwrap(), num);
        assert!(sees(&two, &copy, BOB, skipped.as_str()).await);
        assert!(two.engine.gaps(&copy).await.unwrap().iter().all(|gap| gap.event_id != skipped));
        two.pass(&copy, &mine, (&one, &room)).await;
        assert_same((&one, &room), (&two, &copy)).await;
        let joined = two.say(&copy, BOB, "both").await;
        two.pass(&copy, &joined, (&one, &room)).await;
        assert_same((&one, &room), (&two, &copy)).await;
    }
}

#[tokio::test]
async fn what_does_not_belong_is_left_out_of_a_room() {
    for version in VERSIONS {
        let (one, two) = (Peer::new("one"), Peer::new("two"));
        let room = one.create(&version).await;
        let base = one.topic(&room, ALICE, "fine").await;
        // Dave has nothing to say there; what cites that is worth no more.
        let about = ("@dave:one", "m.room.name", Some(""));
        let forged = one.forge(&room, &[&base], about, json!({"name": "x"}), None).await;
        let elsewhere = Peer::new("three");
        let other = elsewhere.create_as(&version, "@eve:three", "!other:three").await;
        let join = two
            .sign_at((&one, &room), &[&base], (BOB, "m.room.member", Some(BOB)), json!({"membership": "join"}))
            .await;
        assert_eq!(verdict(&one.engine.receive(&room, join.clone()).await.unwrap()), Verdict::Accepted);
        let mut remote = answer(&one, &room, &join).await;
        let strange = elsewhere.log(&other).await.remove(0).1.event_id;
        let strange = elsewhere.wire(&other, &strange).await;
        remote.state.extend([forged.clone(), strange.clone()]);
        let mut uncreated = remote.clone();
        uncreated.state.retain(|event| event.pdu.event_type.to_string() != "m.room.create");
        assert!(matches!(two.engine.enter(uncreated).await, Err(EngineError::BadEvent(_))));
        assert!(matches!(two.engine.room(&room.id).await, Err(EngineError::UnknownRoom)));

        let copy = two.engine.enter(remote.clone()).await.unwrap();
        assert_same((&one, &room), (&two, &copy)).await;
        let row = two.row(&copy, &forged.pdu.event_id).await;
        assert_eq!((row.verdict(), row.outlier()), (Verdict::Rejected, true));
        assert_eq!(two.engine.find_event_anywhere(strange.pdu.event_id.as_str()).await.unwrap(), None);
        // Once more changes nothing.
        two.engine.enter(remote).await.unwrap();
        assert_same((&one, &room), (&two, &copy)).await;
    }
}

#[tokio::test]
async fn who_is_banned_does_not_enter() {
    let (one, two) = (Peer::new("one"), Peer::new("two"));
    let room = one.create(&RoomVersionId::V11).await;
    let base = one.say(&room, ALICE, "base").await;
    let join =
        two.sign_at((&one, &room), &[&base], (BOB, "m.room.member", Some(BOB)), json!({"membership": "join"})).await;
    let ban = one.member(&room, ALICE, BOB, "ban").await;
    assert_eq!(verdict(&one.engine.receive(&room, join.clone()).await.unwrap()), Verdict::SoftFailed);
    let mut remote = answer(&one, &room, &join).await;
    remote.state.push(one.wire(&room, &ban).await);
    assert!(matches!(two.engine.enter(remote).await, Err(EngineError::Forbidden(_))));
    assert!(matches!(two.engine.room(&room.id).await, Err(EngineError::UnknownRoom)));
    assert_eq!(two.engine.db.scan_all(&EVENTS, &1_u64).await.unwrap(), []);
}
