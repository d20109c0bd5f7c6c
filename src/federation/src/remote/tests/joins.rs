use std::sync::Arc;

use engine::Membership;
use futures::future::join_all;
use http_kit::MatrixError;
use ruma::RoomVersionId;
use serde_json::json;

use super::{Joined, VERSIONS, errcode, join, membership, with_room};
use crate::{remote::RemoteError, testing::World};

#[tokio::test]
async fn who_joins_has_the_same_room() {
    for version in VERSIONS {
        let (world, room) = with_room(version.clone()).await;
        let (one, two) = (world.server("one"), world.server("two"));
        let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
        one.say(&room, &ann, "before").await;
        assert!(matches!(join(two, &ben, &room, &["one"]).await.unwrap(), Joined::Entered(_)));
        assert_eq!(one.state(&room).await, two.state(&room).await, "{version}");
        assert_eq!(one.extremities(&room).await, two.extremities(&room).await, "{version}");
        let own = two.content(&room, "m.room.member", ben.as_str()).await;
        assert_eq!(own, json!({"membership": "join", "displayname": "B"}));
        assert_eq!(membership(two, &ben, &room).await, Some(Membership::Join));
        two.say(&room, &ben, "after").await;
        assert_eq!(two.texts(&room).await, ["after"], "{version}");
    }
}

#[tokio::test]
async fn servers_are_tried_in_turn() {
    let (world, room) = with_room(RoomVersionId::V11).await;
    let two = world.server("two");
    let ben = two.user_id("ben");
    // The room's id names the server that helps here.
    let joined = join(two, &ben, &room, &["nowhere", "two"]).await.unwrap();
    assert!(matches!(joined, Joined::Entered(room) if room.version == RoomVersionId::V11));
}

#[tokio::test]
async fn failures_say_why() {
    let (world, room) = with_room(RoomVersionId::V12).await;
    let (one, two) = (world.server("one"), world.server("two"));
    let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
    assert!(matches!(join(two, &ben, &room, &[]).await, Err(RemoteError::NoServer)));
    let unreachable = MatrixError::from(join(two, &ben, &room, &["nowhere"]).await.unwrap_err());
    assert_eq!((unreachable.status.as_u16(), &*unreachable.errcode), (502, "M_UNKNOWN"));
    let unknown = join(two, &ben, "!other:one".try_into().unwrap(), &["one"]).await.unwrap_err();
    assert_eq!(errcode(&unknown), Some("M_NOT_FOUND"));
    one.member(&room, &ann, &ben, "ban").await.unwrap();
    let banned = MatrixError::from(join(two, &ben, &room, &["nowhere", "one"]).await.unwrap_err());
    assert_eq!((banned.status.as_u16(), &*banned.errcode), (403, "M_FORBIDDEN"));
    one.member(&room, &ann, &ben, "leave").await.unwrap();
    let acl = json!({"allow": ["*"], "deny": ["two"], "allow_ip_literals": true});
    one.set(&room, &ann, "m.room.server_acl", "", acl).await.unwrap();
    assert_eq!(errcode(&join(two, &ben, &room, &["one"]).await.unwrap_err()), Some("M_FORBIDDEN"));
    assert_eq!(membership(two, &ben, &room).await, None);
}

#[tokio::test]
async fn many_join_at_once() {
    let (world, room) = with_room(RoomVersionId::V12).await;
    let two = Arc::clone(world.server("two"));
    let names = ["a", "b", "c", "d"];
    for name in names {
        two.register(name).await;
    }
    let joins = names.map(|name| {
        let (two, room) = (Arc::clone(&two), room.clone());
        async move { join(&two, &two.user_id(name), &room, &["one"]).await.unwrap() }
    });
    let joined = join_all(joins).await;
    // One goes through the other server; the rest find the room here.
    assert_eq!(joined.iter().filter(|joined| matches!(joined, Joined::Entered(_))).count(), 1);
    // Who is in the room joins it again without asking anybody.
    world.cut("one", "two");
    let entered = joined.iter().position(|joined| matches!(joined, Joined::Entered(_))).unwrap();
    let again = join(&two, &two.user_id(names[entered]), &room, &["one"]).await;
    assert!(matches!(again, Ok(Joined::Entered(_))));
}

#[tokio::test]
async fn a_room_left_is_entered_anew() {
    for version in VERSIONS {
        let (world, room) = with_room(version).await;
        let (one, two) = (world.server("one"), world.server("two"));
        let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
        join(two, &ben, &room, &["one"]).await.unwrap();
        two.member(&room, &ben, &ben, "leave").await.unwrap();
        settled(&world).await;
        assert_eq!(one.content(&room, "m.room.member", ben.as_str()).await["membership"], "leave");
        one.set(&room, &ann, "m.room.topic", "", json!({"topic": "while away"})).await.unwrap();
        // Those who were in the room when it was last heard of are asked.
        let joined = join(two, &ben, &room, &[]).await.unwrap();
        assert!(matches!(joined, Joined::Entered(_)));
        assert_eq!(one.state(&room).await, two.state(&room).await);
        assert_eq!(two.content(&room, "m.room.topic", "").await["topic"], "while away");
    }
}

/// Returns when the outboxes had time to deliver what is in them.
async fn settled(_world: &World) {
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
}
