use std::sync::Arc;

use engine::{Membership, UserRoom};
use http_kit::{Clock, LimitConfig, MatrixError, RateConfig, RateLimits};
use ruma::RoomVersionId;
use serde_json::{Value, json};
use store::{Keyspace, Table};

use super::{VERSIONS, change_of, invite, join, join_rules, membership, place, with_knocking, with_room};
use crate::testing::TestServer;

async fn shown(server: &TestServer, user_id: &ruma::UserId, room: &ruma::RoomId) -> Vec<String> {
    let engine = server.engine();
    let num = engine.ids.find(store::IdKind::Room, room.as_str()).await.unwrap().unwrap();
    let user = engine.user_num(user_id).await.unwrap();
    let state: Vec<Value> = serde_json::from_slice(&engine.invite_state(user, num).await.unwrap()).unwrap();
    state.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_invitation_reaches_the_invited_and_lets_them_in() {
    for version in VERSIONS {
        let (world, room) = with_room(version.clone()).await;
        let (one, two) = (world.server("one"), world.server("two"));
        let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
        join_rules(one, &room, &ann, json!({"join_rule": "invite"})).await;
        invite(one, &ann, &room, &ben).await.unwrap();
        assert_eq!(membership(two, &ben, &room).await, Some(Membership::Invite), "{version}");
        let kinds = shown(two, &ben, &room).await;
        assert!(kinds.contains(&"m.room.create".to_owned()) && kinds.contains(&"m.room.join_rules".to_owned()));
        assert_eq!(one.content(&room, "m.room.member", ben.as_str()).await["membership"], "invite");
        // Without a server named: that of who invited.
        join(two, &ben, &room, &[]).await.unwrap();
        assert_eq!(membership(two, &ben, &room).await, Some(Membership::Join));
        assert_eq!(one.state(&room).await, two.state(&room).await, "{version}");
    }
}

#[tokio::test]
async fn an_invitation_is_refused() {
    for version in VERSIONS {
        let (world, room) = with_room(version).await;
        let (one, two) = (world.server("one"), world.server("two"));
        let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
        invite(one, &ann, &room, &ben).await.unwrap();
        two.federation().leave(change_of(&ben, &room, &[])).await.unwrap();
        assert_eq!(membership(two, &ben, &room).await, Some(Membership::Leave));
        assert_eq!(one.content(&room, "m.room.member", ben.as_str()).await, json!({"membership": "leave"}));
        // Once is enough.
        let again = MatrixError::from(two.federation().leave(change_of(&ben, &room, &[])).await.unwrap_err());
        assert_eq!(&*again.errcode, "M_FORBIDDEN");
        // Where nobody can be told, the invited are rid of it all the same.
        invite(one, &ann, &room, &ben).await.unwrap();
        world.cut("one", "two");
        two.federation().leave(change_of(&ben, &room, &[])).await.unwrap();
        assert_eq!(membership(two, &ben, &room).await, Some(Membership::Leave));
        assert_eq!(one.content(&room, "m.room.member", ben.as_str()).await["membership"], "invite");
    }
}

#[tokio::test]
async fn a_knock_is_seen_and_taken_back() {
    for version in with_knocking() {
        let (world, room) = with_room(version).await;
        let (one, two) = (world.server("one"), world.server("two"));
        let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
        let refused = MatrixError::from(two.federation().knock(change_of(&ben, &room, &["one"])).await.unwrap_err());
        assert_eq!((refused.status.as_u16(), &*refused.errcode), (403, "M_FORBIDDEN"));
        join_rules(one, &room, &ann, json!({"join_rule": "knock"})).await;
        two.federation().knock(change_of(&ben, &room, &["one"])).await.unwrap();
        assert_eq!(membership(two, &ben, &room).await, Some(Membership::Knock));
        assert!(shown(two, &ben, &room).await.contains(&"m.room.create".to_owned()));
        assert_eq!(one.content(&room, "m.room.member", ben.as_str()).await["membership"], "knock");
        two.federation().leave(change_of(&ben, &room, &[])).await.unwrap();
        assert_eq!(one.content(&room, "m.room.member", ben.as_str()).await["membership"], "leave");
        assert_eq!(membership(two, &ben, &room).await, Some(Membership::Leave));
        // Who is let in after a knock is invited.
        two.federation().knock(change_of(&ben, &room, &["one"])).await.unwrap();
        invite(one, &ann, &room, &ben).await.unwrap();
        assert_eq!(membership(two, &ben, &room).await, Some(Membership::Invite));
        join(two, &ben, &room, &[]).await.unwrap();
        assert_eq!(one.state(&room).await, two.state(&room).await);
    }
}

#[tokio::test]
async fn nobody_is_invited_against_their_will() {
    let (world, room) = with_room(RoomVersionId::V12).await;
    let (one, two) = (world.server("one"), world.server("two"));
    let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
    let refusal = async |user_id: &ruma::UserId| {
        let error = MatrixError::from(invite(one, &ann, &room, user_id).await.unwrap_err());
        (error.status.as_u16(), error.errcode.into_owned())
    };
    assert_eq!(refusal(&two.user_id("nobody")).await, (404, "M_NOT_FOUND".to_owned()));
    let users = two.users();
    let num = users.accounts.by_user_id(&ben).await.unwrap().unwrap().num;
    let blocked = serde_json::value::to_raw_value(&json!({"default_action": "block"})).unwrap();
    users.account_data.set(num, None, "m.invite_permission_config", &blocked).await.unwrap();
    assert_eq!(refusal(&ben).await, (403, "M_INVITE_BLOCKED".to_owned()));
    world.cut("one", "two");
    assert_eq!(refusal(&ben).await.0, 502);
    // Nothing of it is in the room.
    assert_eq!(one.content(&room, "m.room.member", ben.as_str()).await, Value::Null);
    assert_eq!(place(two, &ben, &room).await, None);
}

#[tokio::test]
async fn a_server_that_invites_too_much_is_told_to_wait() {
    let (world, room) = with_room(RoomVersionId::V12).await;
    let (one, two) = (world.server("one"), world.server("two"));
    let (ann, ben, cas) = (one.user_id("ann"), two.user_id("ben"), two.register("cas").await);
    let config = RateConfig { invites: LimitConfig::new(0.001, 2), ..RateConfig::default() };
    two.federation().limits.set(Arc::new(RateLimits::new(&config, &Clock::new(|| 1_700_000_000_000)))).unwrap();
    invite(one, &ann, &room, &ben).await.unwrap();
    let other = one.create_room(&ann, RoomVersionId::V12).await;
    invite(one, &ann, &other, &ben).await.unwrap();
    let third = one.create_room(&ann, RoomVersionId::V12).await;
    let refused = MatrixError::from(invite(one, &ann, &third, &cas).await.unwrap_err());
    assert_eq!(&*refused.errcode, "M_LIMIT_EXCEEDED");
    assert_eq!(place(two, &cas, &third).await, None);
}

/// Where users stand in rooms: (user, room).
const USER_ROOMS: Table<(u64, u64), UserRoom> = Table::new(Keyspace::Index, 9, "user_rooms");

#[tokio::test]
async fn so_many_invitations_wait_for_a_user_and_no_more() {
    let (world, room) = with_room(RoomVersionId::V12).await;
    let (one, two) = (world.server("one"), world.server("two"));
    let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
    invite(one, &ann, &room, &ben).await.unwrap();
    let user = two.engine().user_num(&ben).await.unwrap();
    let federation = two.federation();
    let of_ben = federation.db.scan_all(&USER_ROOMS, &user).await.unwrap();
    let pending: UserRoom = of_ben.last().unwrap().1;
    let mut write = federation.db.write();
    for made_up in 0..299 {
        write.put(&USER_ROOMS, &(user, 1_000_000 + made_up), &pending);
    }
    write.commit().await.unwrap();
    two.start();
    let other = one.create_room(&ann, RoomVersionId::V12).await;
    let refused = MatrixError::from(invite(one, &ann, &other, &ben).await.unwrap_err());
    assert_eq!(&*refused.errcode, "M_LIMIT_EXCEEDED");
    assert_eq!(place(two, &ben, &other).await, None);
    // The same room again is none more, and one that is refused makes room.
    invite(one, &ann, &room, &ben).await.unwrap();
    two.federation().leave(change_of(&ben, &room, &[])).await.unwrap();
    invite(one, &ann, &other, &ben).await.unwrap();
    assert_eq!(membership(two, &ben, &other).await, Some(Membership::Invite));
}
