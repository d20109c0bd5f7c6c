//! What other servers read of a room.

use std::collections::BTreeSet;

use ruma::{EventId, OwnedEventId, RoomVersionId, ServerName, UserId, canonical_json::to_canonical_value, signatures};
use serde_json::{Value, json};

use super::{
    new_event,
    peer::{ALICE, BOB, CAROL, Peer, arrived, assert_same, verdict},
};
use crate::{EngineError, EventNum, EventRow, Received, Room, Verdict};

const DAVE: &str = "@dave:three";
const VERSIONS: [RoomVersionId; 3] = [RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12];

fn ids(rows: &[(EventNum, EventRow)]) -> Vec<String> {
    rows.iter().map(|(_, row)| row.event_id().to_owned()).collect()
}

fn server(name: &str) -> &ServerName {
    name.try_into().unwrap()
}

impl Peer {
    async fn sees(&self, room: &Room, name: &str, id: &EventId) -> bool {
        let row = self.row(room, id).await;
        let seen = self.engine.server_can_see(room, server(name), &row).await.unwrap();
        let pdu: Value =
            serde_json::from_str(self.engine.pdu_for(room, server(name), &row).await.unwrap().get()).unwrap();
        assert_eq!(pdu["content"].get("body").is_some(), seen, "{pdu}");
        assert!(pdu["hashes"].is_object() && pdu["signatures"].is_object());
        seen
    }

    async fn visibility(&self, room: &std::sync::Arc<Room>, value: &str) -> OwnedEventId {
        let content = json!({"history_visibility": value});
        self.send(room, ALICE, "m.room.history_visibility", Some(""), content).await.unwrap()
    }
}

#[tokio::test]
async fn a_server_sees_what_its_users_may() {
    let (one, two) = (Peer::new("one"), Peer::new("two"));
    let room = one.create(&RoomVersionId::V11).await;
    let early = one.say(&room, ALICE, "shared").await;
    assert!(!one.sees(&room, "two", &early).await, "nobody of theirs was ever here");
    let copy = two.join(&one, &room).await;
    one.visibility(&room, "joined").await;
    let hidden = one.say(&room, ALICE, "before they came").await;
    one.give_all(&room, (&two, &copy)).await;
    let joined = two.member(&copy, BOB, BOB, "join").await;
    two.pass(&copy, &joined, (&one, &room)).await;
    let seen = one.say(&room, ALICE, "together").await;
    for (id, expected) in [(&early, true), (&hidden, false), (&seen, true)] {
        assert_eq!(one.sees(&room, "two", id).await, expected, "{id}");
        assert!(!one.sees(&room, "three", id).await);
    }

    let kicked = one.member(&room, ALICE, BOB, "leave").await;
    assert!(one.engine.server_can_see(&room, server("two"), &one.row(&room, &kicked).await).await.unwrap());
    let late = one.say(&room, ALICE, "behind their backs").await;
    one.visibility(&room, "shared").await;
    let later = one.say(&room, ALICE, "shared, but later").await;
    one.visibility(&room, "world_readable").await;
    let open = one.say(&room, ALICE, "to all").await;
    for (id, expected) in
        [(&early, true), (&hidden, false), (&seen, true), (&late, false), (&later, false), (&open, true)]
    {
        assert_eq!(one.sees(&room, "two", id).await, expected, "{id}");
    }
    let rows = one.engine.backfill(&room, &[open], 100).await.unwrap();
    let pdus = one.engine.pdus_for(&room, server("two"), &rows).await.unwrap();
    assert_eq!(pdus.len(), rows.len());
    for (pdu, (_, row)) in pdus.iter().zip(&rows) {
        assert_eq!(pdu.get(), one.engine.pdu_for(&room, server("two"), row).await.unwrap().get());
    }
}

#[tokio::test]
async fn an_invitation_shows_what_comes_behind_it_where_the_room_says_so() {
    let one = Peer::new("one");
    let room = one.create(&RoomVersionId::V11).await;
    one.visibility(&room, "invited").await;
    let before = one.say(&room, ALICE, "before").await;
    one.member(&room, ALICE, DAVE, "invite").await;
    let after = one.say(&room, ALICE, "after").await;
    assert!(!one.sees(&room, "three", &before).await);
    assert!(one.sees(&room, "three", &after).await);
    one.visibility(&room, "joined").await;
    let closed = one.say(&room, ALICE, "closed").await;
    assert!(!one.sees(&room, "three", &closed).await);
}

#[tokio::test]
async fn state_before_an_event_comes_with_all_that_allows_it() {
    for version in VERSIONS {
        let one = Peer::new("one");
        let room = one.create(&version).await;
        let first = one.topic(&room, ALICE, "first").await;
        let second = one.topic(&room, ALICE, "second").await;
        let at = one.engine.state_before_event(&room, &second).await.unwrap();
        let state = ids(&one.engine.events(room.num, &at.state).await.unwrap());
        assert!(state.contains(&first.to_string()) && !state.contains(&second.to_string()));
        assert_eq!(state.len(), 6);
        // Closed: whatever is cited is in the chain, and it is nothing else.
        let chain: BTreeSet<EventNum> = at.auth_chain.iter().copied().collect();
        let mut cited = BTreeSet::new();
        for num in at.state.iter().chain(&at.auth_chain) {
            for id in &one.engine.pdu(&room, *num).await.unwrap().auth_events {
                cited.insert(one.engine.find_event(room.num, id.as_str()).await.unwrap().unwrap());
            }
        }
        assert_eq!(chain, cited);
        let num = one.engine.find_event(room.num, second.as_str()).await.unwrap().unwrap();
        let allowing = one.engine.auth_chain(&room, &[num]).await.unwrap();
        assert!(!allowing.is_empty() && allowing.iter().all(|num| chain.contains(num)));
        let unknown = one.engine.state_before_event(&room, <&EventId>::try_from("$none").unwrap()).await;
        assert!(matches!(unknown, Err(EngineError::UnknownEvent)));
    }
}

#[tokio::test]
async fn history_is_walked_back_and_gaps_are_named() {
    let (one, two) = (Peer::new("one"), Peer::new("two"));
    let room = one.create(&RoomVersionId::V11).await;
    let copy = two.join(&one, &room).await;
    let joined = two.member(&copy, BOB, BOB, "join").await;
    two.pass(&copy, &joined, (&one, &room)).await;
    // Two branches that meet.
    let mut left = Vec::new();
    let mut right = Vec::new();
    for n in 0..3 {
        left.push(one.say(&room, ALICE, &n.to_string()).await);
        right.push(two.say(&copy, BOB, &n.to_string()).await);
    }
    for id in &right {
        two.pass(&copy, id, (&one, &room)).await;
    }
    let last = one.say(&room, ALICE, "both").await;

    let back = ids(&one.engine.backfill(&room, std::slice::from_ref(&last), 100).await.unwrap());
    assert_eq!(back.len(), 13);
    assert_eq!(back[0], last.as_str());
    let place = |id: &EventId| back.iter().position(|other| other == id.as_str()).unwrap();
    for branch in [&left, &right] {
        assert!(branch.windows(2).all(|pair| place(&pair[0]) > place(&pair[1])));
        assert!(branch.iter().all(|id| place(id) < place(&joined)));
    }
    let few = ids(&one.engine.backfill(&room, std::slice::from_ref(&last), 3).await.unwrap());
    assert_eq!(few, back[..3]);
    assert!(one.engine.backfill(&room, &[EventId::parse("$none").unwrap()], 9).await.unwrap().is_empty());

    let gap = |earliest: Vec<OwnedEventId>, limit, min_depth| {
        let (one, room, latest) = (&one, &room, vec![last.clone()]);
        async move { ids(&one.engine.missing_events(room, &earliest, &latest, limit, min_depth).await.unwrap()) }
    };
    let between = gap(vec![left[2].clone(), joined.clone()], 10, 0).await;
    assert_eq!(between, right.iter().map(ToString::to_string).collect::<Vec<_>>());
    let nearest = gap(vec![joined.clone()], 2, 0).await;
    assert_eq!(nearest.iter().collect::<BTreeSet<_>>(), [left[2].to_string(), right[2].to_string()].iter().collect());
    let all = gap(vec![joined.clone()], 100, 0).await;
    assert_eq!(all.len(), 6);
    let depth = one.wire(&room, &left[1]).await.pdu.depth;
    let deep = gap(vec![], 100, depth).await;
    assert_eq!(deep.len(), 4);
    assert!(gap(vec![last.clone()], 100, 0).await.is_empty());

    let unknown = EventId::parse("$none").unwrap();
    let absent = one.engine.absent(&room, &[last.clone(), unknown.clone(), joined.clone()]).await.unwrap();
    assert_eq!(absent, [unknown]);
}

#[tokio::test]
async fn refused_events_are_walked_through_but_not_given() {
    let (one, two) = (Peer::new("one"), Peer::new("two"));
    let room = one.create(&RoomVersionId::V11).await;
    let copy = two.join(&one, &room).await;
    let joined = two.member(&copy, BOB, BOB, "join").await;
    two.pass(&copy, &joined, (&one, &room)).await;
    let forged = two.forge(&copy, &[&joined], (CAROL, "m.room.message", None), json!({"body": "x"}), None).await;
    let refused = forged.pdu.event_id.clone();
    assert_eq!(verdict(&one.engine.receive(&room, forged).await.unwrap()), Verdict::Rejected);
    let before = ids(&one.engine.backfill(&room, &[joined], 100).await.unwrap());
    assert_eq!(ids(&one.engine.backfill(&room, std::slice::from_ref(&refused), 100).await.unwrap()), before);
    assert!(!one.engine.server_can_see(&room, server("two"), &one.row(&room, &refused).await).await.unwrap());
    assert!(matches!(one.engine.state_before_event(&room, &refused).await, Err(EngineError::UnknownEvent)));
}

/// Signs an event that was made elsewhere, as the server of its sender does.
fn signed_by(peer: &Peer, template: &str, room: &Room) -> String {
    let mut object = serde_json::from_str(template).unwrap();
    let identity = &peer.engine.identity;
    let redaction = room.rules.redaction.clone();
    signatures::hash_and_sign_event(identity.server_name.as_str(), &identity.key, &mut object, &redaction).unwrap();
    to_canonical_value(&object).unwrap().to_string()
}

#[tokio::test]
async fn a_template_becomes_an_event_once_its_server_has_signed_it() {
    for version in VERSIONS {
        let (one, two) = (Peer::new("one"), Peer::new("two"));
        let room = one.create(&version).await;
        let (bob, content) = (<&UserId>::try_from(BOB).unwrap(), r#"{"membership":"join"}"#);
        let num = one.engine.user_num(bob).await.unwrap();
        let mut writer = one.engine.write(&room).await.unwrap();
        let template = writer.template(&new_event(bob, num, "m.room.member", Some(BOB), content, None)).await.unwrap();
        drop(writer);
        let fields: Value = serde_json::from_str(template.get()).unwrap();
        for field in ["hashes", "signatures", "event_id", "unsigned"] {
            assert!(fields.get(field).is_none(), "{field}");
        }
        assert_eq!(fields["room_id"], room.id.as_str());
        assert_eq!(fields["sender"], BOB);

        // Nothing was stored, and the room goes on.
        assert!(one.engine.members(room.num).await.unwrap().iter().all(|member| member.user_id != BOB));
        one.say(&room, ALICE, "meanwhile").await;
        let joined = arrived(&signed_by(&two, template.get(), &room), &room.rules);
        assert_eq!(verdict(&one.engine.receive_and_relay(&room, joined).await.unwrap()), Verdict::Accepted);
        assert_eq!(one.engine.servers(&room).await.unwrap(), ["two"]);
        one.assert_sound(&room).await;

        let mut writer = one.engine.write(&room).await.unwrap();
        let stranger = <&UserId>::try_from(DAVE).unwrap();
        let knock = new_event(stranger, num, "m.room.member", Some(DAVE), r#"{"membership":"knock"}"#, None);
        assert!(matches!(writer.template(&knock).await, Err(EngineError::Forbidden(_))));
    }
}

#[tokio::test]
async fn an_invitation_is_stored_once_both_servers_have_signed_it() {
    let (one, two) = (Peer::new("one"), Peer::new("two"));
    let room = one.create(&RoomVersionId::V11).await;
    let (alice, content) = (<&UserId>::try_from(ALICE).unwrap(), r#"{"membership":"invite"}"#);
    let num = one.engine.user_num(alice).await.unwrap();
    let mut writer = one.engine.write(&room).await.unwrap();
    let draft = writer.draft(&new_event(alice, num, "m.room.member", Some(BOB), content, None)).await.unwrap();
    drop(writer);
    let id = draft.pdu.event_id.clone();
    assert_eq!(one.engine.find_event(room.num, id.as_str()).await.unwrap(), None);
    let both = arrived(&signed_by(&two, &draft.json, &room), &room.rules);
    assert_eq!(both.pdu.event_id, id);
    let Received::Stored { verdict: Verdict::Accepted, .. } = one.engine.receive(&room, both).await.unwrap() else {
        panic!("the invitation was refused");
    };
    assert!(one.row(&room, &id).await.json().contains("\"two\""));
    assert_eq!(one.membership(&room, BOB).await, crate::Membership::Invite);
    one.assert_sound(&room).await;
}

#[tokio::test]
async fn the_first_two_versions_name_their_events_and_cite_them_with_hashes() {
    for version in [RoomVersionId::V1, RoomVersionId::V2] {
        let (one, two) = (Peer::new("one"), Peer::new("two"));
        let room = one.create(&version).await;
        let copy = two.join(&one, &room).await;
        let joined = two.member(&copy, BOB, BOB, "join").await;
        two.pass(&copy, &joined, (&one, &room)).await;
        assert_eq!(joined.server_name().unwrap(), "two");
        let fields: Value = serde_json::from_str(two.row(&copy, &joined).await.json()).unwrap();
        assert!(fields["prev_events"][0][1]["sha256"].is_string() && fields["auth_events"][0][1]["sha256"].is_string());

        let said = one.say(&room, ALICE, "again").await;
        assert_ne!(said, one.say(&room, ALICE, "again").await);
        let topic = two.topic(&copy, BOB, "theirs").await;
        let levels = json!({"users": {ALICE: 100, BOB: 50}, "events": {"m.room.topic": 0}});
        one.send(&room, ALICE, "m.room.power_levels", Some(""), levels).await.unwrap();
        one.topic(&room, ALICE, "ours").await;
        two.pass(&copy, &topic, (&one, &room)).await;
        one.give_all(&room, (&two, &copy)).await;
        assert_same((&one, &room), (&two, &copy)).await;
        let both = one.say(&room, ALICE, "both").await;
        one.pass(&room, &both, (&two, &copy)).await;
        assert_eq!(two.ends(&copy).await, [both].into());
        assert_same((&one, &room), (&two, &copy)).await;
    }
}
