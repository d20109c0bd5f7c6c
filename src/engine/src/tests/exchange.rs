//! Two servers, one room: events cross, fork, come late, and are refused.

use ruma::{EventId, RoomVersionId};
use serde_json::json;

use super::peer::{ALICE, BOB, CAROL, Peer, State, assert_same, verdict};
use crate::{
    Membership, Received, RelationFilter, Verdict,
    tables::{PARKED_REDACTIONS, RELATED},
};

const VERSIONS: [RoomVersionId; 4] = [RoomVersionId::V6, RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12];

/// A room on two servers, in which Alice (one) and Bob (two) are.
macro_rules! shared {
    ($one:ident, $two:ident, $room:ident, $copy:ident, $version:expr) => {
        let ($one, $two) = (Peer::new("one"), Peer::new("two"));
        let $room = $one.create(&$version).await;
        let $copy = $two.join(&$one, &$room).await;
        let joined = $two.member(&$copy, BOB, BOB, "join").await;
        assert_eq!(verdict(&$two.give(&$copy, &joined, (&$one, &$room)).await), Verdict::Accepted);
    };
}

fn entry<'a>(state: &'a State, kind: &str) -> Option<&'a str> {
    state.get(&(kind.to_owned(), String::new())).map(String::as_str)
}

#[tokio::test]
async fn a_line_of_events_from_two_servers() {
    for version in VERSIONS {
        shared!(one, two, room, copy, version);
        assert_same((&one, &room), (&two, &copy)).await;
        for n in 0..3 {
            let id = one.topic(&room, ALICE, &format!("topic {n}")).await;
            assert_eq!(verdict(&one.give(&room, &id, (&two, &copy)).await), Verdict::Accepted);
            let id = two.say(&copy, BOB, &format!("message {n}")).await;
            assert_eq!(verdict(&two.give(&copy, &id, (&one, &room)).await), Verdict::Accepted);
            assert!(matches!(two.give(&copy, &id, (&one, &room)).await, Received::Known(_)));
        }
        assert_same((&one, &room), (&two, &copy)).await;
        assert_eq!(one.ends(&room).await.len(), 1);
        assert_eq!(one.place(&room, ALICE).await, Some(Membership::Join));
        // The other server's users have no place here.
        assert_eq!(one.place(&room, BOB).await, None);
        assert_eq!(two.place(&copy, BOB).await, Some(Membership::Join));

        let (id, before) = (copy.id.clone(), two.state(&copy).await);
        drop(copy);
        let two = two.restarted();
        let copy = two.engine.room(&id).await.unwrap();
        assert_eq!(two.state(&copy).await, before);
        let id = two.say(&copy, BOB, "still here").await;
        assert_eq!(verdict(&two.give(&copy, &id, (&one, &room)).await), Verdict::Accepted);
        assert_same((&one, &room), (&two, &copy)).await;
    }
}

#[tokio::test]
async fn what_its_form_rejects_is_followed_all_the_same() {
    shared!(one, two, room, copy, RoomVersionId::V10);
    let start = two.say(&copy, BOB, "start").await;
    two.pass(&copy, &start, (&one, &room)).await;
    let mut bad = two.forge(&copy, &[&start], (BOB, "m.x", Some("k")), json!({}), None).await;
    bad.pdu.rejected = true;
    for (peer, room) in [(&one, &room), (&two, &copy)] {
        assert_eq!(verdict(&peer.engine.receive(room, bad.clone()).await.unwrap()), Verdict::Rejected);
    }
    let next = two.forge(&copy, &[&bad.pdu.event_id], (BOB, "m.room.message", None), json!({}), None).await;
    assert_eq!(verdict(&one.engine.receive(&room, next).await.unwrap()), Verdict::Accepted);
    assert!(!one.state(&room).await.contains_key(&("m.x".to_owned(), "k".to_owned())));
    one.assert_sound(&room).await;
}

#[tokio::test]
async fn two_topics_at_once_become_one_and_the_next_event_joins_the_branches() {
    for version in VERSIONS {
        shared!(one, two, room, copy, version);
        two.clock.advance(50);
        let early = one.topic(&room, ALICE, "early").await;
        let late = two.topic(&copy, BOB, "late").await;
        one.pass(&room, &early, (&two, &copy)).await;
        two.pass(&copy, &late, (&one, &room)).await;
        assert_same((&one, &room), (&two, &copy)).await;
        assert_eq!(entry(&one.state(&room).await, "m.room.topic"), Some(late.as_str()));
        assert_eq!(one.ends(&room).await.len(), 2);

        let joining = one.say(&room, ALICE, "both").await;
        assert_eq!(one.wire(&room, &joining).await.pdu.prev_events.len(), 2);
        one.pass(&room, &joining, (&two, &copy)).await;
        assert_eq!(one.ends(&room).await, [joining].into());
        assert_same((&one, &room), (&two, &copy)).await;
    }
}

#[tokio::test]
async fn who_loses_power_loses_what_was_done_with_it_at_the_same_time() {
    for version in VERSIONS {
        shared!(one, two, room, copy, version);
        let levels = if version == RoomVersionId::V12 {
            json!({"users": {BOB: 0}})
        } else {
            json!({"users": {ALICE: 100, BOB: 0}})
        };
        let old = one.topic(&room, ALICE, "old").await;
        one.pass(&room, &old, (&two, &copy)).await;
        let levels = one.send(&room, ALICE, "m.room.power_levels", Some(""), levels).await.unwrap();
        let topic = two.topic(&copy, BOB, "mine").await;
        assert_eq!(entry(&two.state(&copy).await, "m.room.topic"), Some(topic.as_str()));

        // Here the state goes back to the topic before; there Bob's topic never comes in.
        assert_eq!(verdict(&one.give(&room, &levels, (&two, &copy)).await), Verdict::Accepted);
        assert_eq!(verdict(&two.give(&copy, &topic, (&one, &room)).await), Verdict::SoftFailed);
        for (peer, room) in [(&one, &room), (&two, &copy)] {
            let state = peer.state(room).await;
            assert_eq!(entry(&state, "m.room.topic"), Some(old.as_str()));
            assert_eq!(entry(&state, "m.room.power_levels"), Some(levels.as_str()));
            peer.assert_sound(room).await;
        }
        assert!(two.send(&copy, BOB, "m.room.topic", Some(""), json!({"topic": "again"})).await.is_err());
    }
}

#[tokio::test]
async fn a_ban_wins_over_a_join_and_over_a_message() {
    for version in VERSIONS {
        shared!(one, two, room, copy, version);
        let ban = one.member(&room, ALICE, CAROL, "ban").await;
        let join = two.member(&copy, CAROL, CAROL, "join").await;
        assert_eq!((copy.info().joined, two.place(&copy, CAROL).await), (3, Some(Membership::Join)));
        assert_eq!(verdict(&one.give(&room, &ban, (&two, &copy)).await), Verdict::Accepted);
        assert_eq!(verdict(&two.give(&copy, &join, (&one, &room)).await), Verdict::SoftFailed);
        assert_eq!(one.state(&room).await, two.state(&copy).await);
        for (peer, room) in [(&one, &room), (&two, &copy)] {
            assert_eq!(peer.membership(room, CAROL).await, Membership::Ban);
            assert_eq!(room.info().joined, 2);
            peer.assert_sound(room).await;
        }
        assert_eq!(two.place(&copy, CAROL).await, Some(Membership::Ban));

        let ban = one.member(&room, ALICE, BOB, "ban").await;
        let message = two.say(&copy, BOB, "hello").await;
        two.pass(&copy, &message, (&one, &room)).await;
        one.pass(&room, &ban, (&two, &copy)).await;
        assert_eq!(one.state(&room).await, two.state(&copy).await);
        assert_eq!(two.place(&copy, BOB).await, Some(Membership::Ban));
        assert!(copy.info().local_members.is_empty());
        two.assert_sound(&copy).await;
    }
}

#[tokio::test]
async fn what_comes_before_its_parents_is_sent_back_for_them() {
    shared!(one, two, room, copy, RoomVersionId::V11);
    let first = one.topic(&room, ALICE, "one").await;
    let second = one.say(&room, ALICE, "two").await;
    let third = one.say(&room, ALICE, "three").await;
    let known = two.log(&copy).await.len();
    assert_eq!(one.give(&room, &third, (&two, &copy)).await, Received::Missing(vec![second.clone()]));
    assert_eq!(one.give(&room, &second, (&two, &copy)).await, Received::Missing(vec![first.clone()]));
    assert_eq!(two.log(&copy).await.len(), known);
    for id in [&first, &second, &third] {
        assert_eq!(verdict(&one.give(&room, id, (&two, &copy)).await), Verdict::Accepted);
    }
    assert_same((&one, &room), (&two, &copy)).await;
    // What it cites has to be here as well.
    let stranger = EventId::parse("$fJN1hLxlmHYfJZrRZ9Nn8mKsPvfdJU1m8pVr5rPVXdA").unwrap();
    let mut event = one.wire(&room, &third).await;
    event.pdu.event_id = EventId::parse("$other").unwrap();
    event.pdu.auth_events.push(stranger.clone());
    assert_eq!(two.engine.receive(&copy, event).await.unwrap(), Received::Missing(vec![stranger]));
}

#[tokio::test]
async fn a_soft_failed_event_is_kept_but_nothing_follows_it() {
    shared!(one, two, room, copy, RoomVersionId::V11);
    let ban = one.member(&room, ALICE, BOB, "ban").await;
    let message = two.say(&copy, BOB, "was I banned?").await;
    let ends = one.ends(&room).await;
    assert_eq!(verdict(&two.give(&copy, &message, (&one, &room)).await), Verdict::SoftFailed);
    assert_eq!(one.ends(&room).await, ends);
    assert_eq!(ends, [ban.clone()].into());
    assert_eq!(one.row(&room, &message).await.verdict(), Verdict::SoftFailed);
    let next = one.say(&room, ALICE, "he was").await;
    assert_eq!(one.wire(&room, &next).await.pdu.prev_events, [ban]);
    let page = one.engine.stream(room.num, 0, one.engine.frontier(), 100, crate::Direction::Forward).await.unwrap();
    let num = one.engine.find_event(room.num, message.as_str()).await.unwrap().unwrap();
    assert!(page.iter().all(|(_, shown)| *shown != num) && !page.is_empty());
    one.assert_sound(&room).await;
    // An event that follows it is judged in the state after it, and joins the room's end where it is allowed now.
    let carol = two.member(&copy, CAROL, CAROL, "join").await;
    assert_eq!(verdict(&two.give(&copy, &carol, (&one, &room)).await), Verdict::Accepted);
    assert_eq!(one.ends(&room).await, [next, carol].into());
    assert_eq!(one.membership(&room, BOB).await, Membership::Ban);
    one.assert_sound(&room).await;
}

#[tokio::test]
async fn what_follows_an_end_through_a_soft_failed_event_takes_its_place() {
    shared!(one, two, room, copy, RoomVersionId::V11);
    let carol = two.member(&copy, CAROL, CAROL, "join").await;
    two.pass(&copy, &carol, (&one, &room)).await;
    let ban = one.member(&room, ALICE, BOB, "ban").await;
    let first = two.say(&copy, CAROL, "first").await;
    two.pass(&copy, &first, (&one, &room)).await;
    assert_eq!(one.ends(&room).await, [ban.clone(), first].into());
    let banned = two.say(&copy, BOB, "was I banned?").await;
    assert_eq!(verdict(&two.give(&copy, &banned, (&one, &room)).await), Verdict::SoftFailed);
    let last = two.say(&copy, CAROL, "last").await;
    assert_eq!(verdict(&two.give(&copy, &last, (&one, &room)).await), Verdict::Accepted);
    assert_eq!(one.ends(&room).await, [ban, last].into());
    one.assert_sound(&room).await;
}

#[tokio::test]
async fn a_rejected_event_changes_nothing_also_for_those_that_follow_it() {
    for version in VERSIONS {
        shared!(one, two, room, copy, version);
        let end = two.say(&copy, BOB, "base").await;
        two.pass(&copy, &end, (&one, &room)).await;
        let before = one.state(&room).await;
        // Carol is not in the room; Bob may not change the levels above his own.
        let stranger = two.forge(&copy, &[&end], (CAROL, "m.room.topic", Some("")), json!({"topic": "x"}), None).await;
        let coup = json!({"users": {ALICE: 100, BOB: 100}});
        let coup = two.forge(&copy, &[&end], (BOB, "m.room.power_levels", Some("")), coup, None).await;
        for event in [stranger.clone(), coup.clone()] {
            for (peer, room) in [(&one, &room), (&two, &copy)] {
                assert_eq!(verdict(&peer.engine.receive(room, event.clone()).await.unwrap()), Verdict::Rejected);
            }
        }
        assert_eq!((one.state(&room).await, one.ends(&room).await), (before.clone(), [end.clone()].into()));
        // One that cites a rejected event is rejected, one that merely follows it is not.
        let follower =
            two.forge(&copy, &[&coup.pdu.event_id], (BOB, "m.room.message", None), json!({"body": "y"}), None).await;
        assert_eq!(verdict(&one.engine.receive(&room, follower.clone()).await.unwrap()), Verdict::Accepted);
        assert_eq!(one.state(&room).await, before);
        // By way of the rejected one it follows what that follows.
        assert_eq!(one.ends(&room).await, [follower.pdu.event_id].into());
        one.assert_sound(&room).await;
        two.assert_sound(&copy).await;
    }
}

#[tokio::test]
async fn a_redaction_that_comes_first_waits_for_its_target() {
    for version in [RoomVersionId::V10, RoomVersionId::V11] {
        shared!(one, two, room, copy, version);
        let base = two.say(&copy, BOB, "base").await;
        two.pass(&copy, &base, (&one, &room)).await;
        let target = two.topic(&copy, BOB, "secret").await;
        let about = ("m.room.redaction", None);
        let redaction = two.forge(&copy, &[&base], (BOB, about.0, about.1), json!({}), Some(&target)).await;
        assert_eq!(verdict(&one.engine.receive(&room, redaction.clone()).await.unwrap()), Verdict::Accepted);
        assert_eq!(one.engine.db.scan_all(&PARKED_REDACTIONS, &room.num).await.unwrap().len(), 1);
        assert_eq!(verdict(&two.give(&copy, &target, (&one, &room)).await), Verdict::Accepted);
        assert_eq!(verdict(&two.engine.receive(&copy, redaction.clone()).await.unwrap()), Verdict::Accepted);
        for (peer, room) in [(&one, &room), (&two, &copy)] {
            let row = peer.row(room, &target).await;
            assert_eq!((row.content(), row.redacted_by()), ("{}", Some(redaction.pdu.event_id.as_str())));
        }
        assert!(one.engine.db.scan_all(&PARKED_REDACTIONS, &room.num).await.unwrap().is_empty());
        assert_same((&one, &room), (&two, &copy)).await;
    }
}

#[tokio::test]
async fn a_reply_that_comes_before_its_thread_is_found_from_it() {
    shared!(one, two, room, copy, RoomVersionId::V11);
    let base = two.say(&copy, BOB, "base").await;
    two.pass(&copy, &base, (&one, &room)).await;
    let root = two.say(&copy, BOB, "root").await;
    let content = json!({"body": "reply", "m.relates_to": {"rel_type": "m.thread", "event_id": root}});
    let reply = two.forge(&copy, &[&base], (BOB, "m.room.message", None), content, None).await;
    assert_eq!(verdict(&one.engine.receive(&room, reply.clone()).await.unwrap()), Verdict::Accepted);
    let Received::Stored { num, .. } = two.give(&copy, &root, (&one, &room)).await else { panic!("not stored") };
    assert_eq!(one.engine.db.get(&RELATED, &(room.num, num)).await.unwrap(), Some(()));
    let found = one
        .engine
        .relations(room.num, root.as_str(), RelationFilter::default(), (None, None), 10, crate::Direction::Backward)
        .await
        .unwrap();
    let reply = one.engine.find_event(room.num, reply.pdu.event_id.as_str()).await.unwrap().unwrap();
    assert_eq!(found.0, [reply]);
    one.assert_sound(&room).await;
}

#[tokio::test]
async fn more_branches_than_one_event_can_follow_are_joined_in_steps() {
    for version in [RoomVersionId::V10, RoomVersionId::V12] {
        shared!(one, two, room, copy, version);
        let base = two.say(&copy, BOB, "base").await;
        two.pass(&copy, &base, (&one, &room)).await;
        for n in 0..25 {
            let content = json!({"topic": n.to_string()});
            let key = n.to_string();
            let event = two.forge(&copy, &[&base], (BOB, "x.topic", Some(&key)), content, None).await;
            assert_eq!(verdict(&one.engine.receive(&room, event).await.unwrap()), Verdict::Accepted);
        }
        assert_eq!(one.ends(&room).await.len(), 25);
        let before = one.state(&room).await;
        let first = one.topic(&room, ALICE, "one branch less").await;
        assert_eq!(one.wire(&room, &first).await.pdu.prev_events.len(), 20);
        assert_eq!(one.ends(&room).await.len(), 6);
        let row = one.row(&room, &first).await;
        assert_eq!((row.device(), row.txn_id()), ("DEV", "t1"));
        one.say(&room, ALICE, "one branch").await;
        assert_eq!(one.ends(&room).await.len(), 1);
        assert_eq!(one.state(&room).await.len(), before.len() + 1);
        one.assert_sound(&room).await;
        one.give_all(&room, (&two, &copy)).await;
        assert_same((&one, &room), (&two, &copy)).await;
    }
}

#[tokio::test]
async fn events_of_another_room_are_refused() {
    shared!(one, two, room, copy, RoomVersionId::V12);
    let id = one.say(&room, ALICE, "x").await;
    let mut event = one.wire(&room, &id).await;
    event.pdu.room_id = ruma::RoomId::parse("!elsewhere:one").unwrap();
    assert!(matches!(two.engine.receive(&copy, event).await, Err(crate::EngineError::BadEvent(_))));
    let message = one.wire(&room, &id).await;
    assert!(matches!(two.engine.receive_create(message).await, Err(crate::EngineError::BadEvent(_))));
}

#[tokio::test]
async fn in_the_first_versions_a_redaction_that_was_allowed_redacts_whenever_its_target_comes() {
    for version in [RoomVersionId::V1, RoomVersionId::V2] {
        shared!(one, two, room, copy, version);
        let levels = |users: serde_json::Value| json!({"users": users});
        let raised = levels(json!({ALICE: 100, BOB: 50}));
        let raised = one.send(&room, ALICE, "m.room.power_levels", Some(""), raised).await.unwrap();
        one.pass(&room, &raised, (&two, &copy)).await;
        let said = json!({"body": "hello"});
        let said = one.sign_at((&two, &copy), &[&raised], (ALICE, "m.room.message", None), said).await;
        let id = said.pdu.event_id.clone();
        let redaction = two.forge(&copy, &[&raised], (BOB, "m.room.redaction", None), json!({}), Some(&id)).await;
        let behind = redaction.pdu.event_id.clone();
        assert_eq!(verdict(&two.engine.receive(&copy, redaction).await.unwrap()), Verdict::Accepted);
        let lowered = (ALICE, "m.room.power_levels", Some(""));
        let lowered = one.sign_at((&two, &copy), &[&behind], lowered, levels(json!({ALICE: 100}))).await;
        let end = lowered.pdu.event_id.clone();
        assert_eq!(verdict(&two.engine.receive(&copy, lowered).await.unwrap()), Verdict::Accepted);
        assert_eq!(verdict(&two.engine.receive(&copy, said).await.unwrap()), Verdict::Accepted);
        assert!(two.row(&copy, &id).await.is_redacted(), "{version}");
        // Who may not redact what another server named is refused.
        let refused = two.forge(&copy, &[&end], (BOB, "m.room.redaction", None), json!({}), Some(&raised)).await;
        assert_eq!(verdict(&two.engine.receive(&copy, refused).await.unwrap()), Verdict::Rejected);
        assert!(!two.row(&copy, &raised).await.is_redacted());
        two.assert_sound(&copy).await;
    }
}
