//! Invitations to rooms of other servers, and how they end.

use std::sync::Arc;

use ruma::{RoomVersionId, UserId};
use serde_json::{json, value::to_raw_value};

use super::{
    entering::enter,
    peer::{ALICE, BOB, CAROL, Peer, assert_same, verdict},
};
use crate::{EngineError, FeedEntry, Membership, Room, UserRoom, Verdict};

async fn place(peer: &Peer, room: &Room, user: &str) -> (u64, u64, Option<UserRoom>) {
    let user = peer.engine.user_num(<&UserId>::try_from(user).unwrap()).await.unwrap();
    let num = peer.engine.ids.number(store::IdKind::Room, room.id.as_str()).await.unwrap();
    (user, num, peer.engine.user_rooms().get(user, num).await.unwrap())
}

async fn invite(host: (&Peer, &Arc<Room>), guest: &Peer, user: &str) -> ruma::OwnedEventId {
    let id = host.0.member(host.1, ALICE, user, "invite").await;
    let name =
        json!({"type": "m.room.name", "state_key": "", "sender": ALICE, "content": {"name": "Trip"}, "depth": 5});
    let stripped = vec![to_raw_value(&name).unwrap(), to_raw_value(&json!("no event")).unwrap()];
    let event = host.0.wire(host.1, &id).await;
    guest.engine.receive_invite(host.1.version.clone(), event, stripped).await.unwrap();
    id
}

#[tokio::test]
async fn an_invitation_from_elsewhere_is_refused_taken_back_or_followed() {
    for version in [RoomVersionId::V1, RoomVersionId::V11, RoomVersionId::V12] {
        let (one, two) = (Peer::new("one"), Peer::new("two"));
        two.engine.follow(Arc::new(|| {}));
        let room = one.create(&version).await;
        let id = invite((&one, &room), &two, BOB).await;
        let (bob, num, found) = place(&two, &room, BOB).await;
        let found = found.unwrap();
        assert_eq!((found.membership, found.num), (Membership::Invite, 0));
        assert!(matches!(two.engine.room(&room.id).await, Err(EngineError::UnknownRoom)));
        assert_eq!(two.engine.room_id(num).await.unwrap(), room.id);
        let shown: serde_json::Value =
            serde_json::from_slice(&two.engine.invite_state(bob, num).await.unwrap()).unwrap();
        let types: Vec<&str> = shown.as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["m.room.name", "m.room.member"]);
        assert!(shown[0].get("depth").is_none());

        // Refused: by Bob himself, told by the event that the other server took.
        let about = (BOB, "m.room.member", Some(BOB));
        let leave = two.sign_at((&one, &room), &[&id], about, json!({"membership": "leave"})).await;
        assert_eq!(verdict(&one.engine.receive(&room, leave.clone()).await.unwrap()), Verdict::Accepted);
        assert!(two.engine.receive_membership_outside(leave.clone()).await.unwrap());
        assert!(!two.engine.receive_membership_outside(leave.clone()).await.unwrap());
        assert_eq!(place(&two, &room, BOB).await.2.unwrap().membership, Membership::Leave);
        let event = two.engine.outside_event(bob, num).await.unwrap().unwrap();
        assert!(event.contains(leave.pdu.event_id.as_str()) && event.contains("\"leave\""));
        // Who follows what happens here is told of both.
        let told = two.engine.feed(0, 10).await.unwrap().into_iter().filter_map(|(_, entry)| match entry {
            FeedEntry::Outside(news) => Some((news.user, news.room, serde_json::from_str(&news.event).unwrap())),
            _ => None,
        });
        let told: Vec<(u64, u64, serde_json::Value)> = told.collect();
        assert_eq!((told.len(), told[0].0, told[0].1), (2, bob, num));
        assert_eq!((&told[0].2["event_id"], &told[0].2["room_id"]), (&json!(id), &json!(room.id)));
        assert_eq!(told[1].2["content"], json!({"membership": "leave"}));

        // Taken back: by who invited, and by nobody else.
        invite((&one, &room), &two, CAROL).await;
        let kick = one.member(&room, ALICE, CAROL, "leave").await;
        let other = one
            .forge(&room, &[&kick], ("@dave:one", "m.room.member", Some(CAROL)), json!({"membership": "leave"}), None)
            .await;
        assert!(!two.engine.receive_membership_outside(other).await.unwrap());
        assert!(two.engine.receive_membership_outside(one.wire(&room, &kick).await).await.unwrap());
        assert_eq!(place(&two, &room, CAROL).await.2.unwrap().membership, Membership::Leave);

        // Followed; what was heard from outside is forgotten.
        invite((&one, &room), &two, BOB).await;
        let two = two.restarted();
        let copy = enter(&one, &room, &two, BOB).await;
        assert_same((&one, &room), (&two, &copy)).await;
        let found = place(&two, &room, BOB).await.2.unwrap();
        assert_eq!((found.membership, found.before), (Membership::Join, Membership::Invite));
        assert_ne!(found.num, 0);
        assert_eq!(two.engine.outside(bob, num).await.unwrap(), None);
        assert_eq!(&two.engine.invite_state(bob, num).await.unwrap()[..], b"[]");

        // Where somebody here is in the room, an invitation is an event like any other.
        let id = one.member(&room, ALICE, CAROL, "invite").await;
        let event = one.wire(&room, &id).await;
        two.engine.receive_invite(version, event, Vec::new()).await.unwrap();
        assert_eq!(two.membership(&copy, CAROL).await, Membership::Invite);
        assert_same((&one, &room), (&two, &copy)).await;
    }
}

#[tokio::test]
async fn who_can_tell_nobody_of_leaving_sees_it_all_the_same() {
    for version in [RoomVersionId::V1, RoomVersionId::V11, RoomVersionId::V12] {
        let (one, two) = (Peer::new("one"), Peer::new("two"));
        let room = one.create(&version).await;
        invite((&one, &room), &two, BOB).await;
        let (bob, num, _) = place(&two, &room, BOB).await;
        assert!(two.engine.outside_event(bob, num).await.unwrap().is_none());
        assert!(two.engine.withdraw_outside(&room.id, <&UserId>::try_from(BOB).unwrap()).await.unwrap());
        let shown = two.engine.outside_event(bob, num).await.unwrap().unwrap();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((&shown["content"], &shown["sender"]), (&json!({"membership": "leave"}), &json!(BOB)));
        assert_eq!((&shown["state_key"], &shown["type"]), (&json!(BOB), &json!("m.room.member")));
        assert!(shown["event_id"].as_str().unwrap().starts_with('$') && shown["origin_server_ts"].is_u64());
        // Invited once more, that is what counts.
        one.member(&room, ALICE, BOB, "leave").await;
        invite((&one, &room), &two, BOB).await;
        assert_eq!(place(&two, &room, BOB).await.2.unwrap().membership, Membership::Invite);
    }
}

#[tokio::test]
async fn a_place_outside_is_forgotten_once_it_is_left() {
    let (one, two) = (Peer::new("one"), Peer::new("two"));
    let room = one.create(&RoomVersionId::V11).await;
    invite((&one, &room), &two, BOB).await;
    let bob = place(&two, &room, BOB).await.0;
    assert_eq!(two.engine.forget_outside(&room.id, bob).await.unwrap(), Some(Membership::Invite));
    assert!(two.engine.withdraw_outside(&room.id, <&UserId>::try_from(BOB).unwrap()).await.unwrap());
    assert_eq!(two.engine.forget_outside(&room.id, bob).await.unwrap(), Some(Membership::Leave));
    assert!(place(&two, &room, BOB).await.2.unwrap().forgotten);
}
