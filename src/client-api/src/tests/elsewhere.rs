//! Invitations of users of other servers, whichever way they are sent.

use std::sync::Arc;

use http_kit::MatrixError;
use parking_lot::Mutex;
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomAliasId};
use serde_json::{Value, json};

use crate::{
    ClientApiConfig, RemoteFuture, RemoteInvitation, RemoteJoined, RemoteMembership, RemoteRooms, testing::TestApp,
};

/// Other servers as far as invitations go: what they were asked to sign, in order. Those on `grumpy` are never let in.
#[derive(Debug, Default)]
struct Elsewhere(Mutex<Vec<(String, String, Value)>>);

fn nothing<T>() -> RemoteFuture<'static, T>
where
    T: Send + 'static,
{
    Box::pin(std::future::ready(Err(MatrixError::not_found("nothing of it"))))
}

impl RemoteRooms for Elsewhere {
    fn join(&self, _: RemoteMembership, _: bool) -> RemoteFuture<'_, RemoteJoined> {
        nothing()
    }

    fn knock(&self, _: RemoteMembership) -> RemoteFuture<'_, ()> {
        nothing()
    }

    fn leave(&self, _: RemoteMembership) -> RemoteFuture<'_, ()> {
        nothing()
    }

    fn invite(&self, invitation: RemoteInvitation) -> RemoteFuture<'_, OwnedEventId> {
        let content = serde_json::from_str(&invitation.content).unwrap();
        let (sender, invited) = (invitation.sender.to_string(), invitation.invited.to_string());
        let refused = invited.ends_with(":grumpy");
        self.0.lock().push((sender, invited, content));
        let id = OwnedEventId::try_from("$signed").unwrap();
        let answer = if refused { Err(MatrixError::forbidden("nobody from there")) } else { Ok(id) };
        Box::pin(std::future::ready(answer))
    }

    fn resolve<'a>(&'a self, _: &'a RoomAliasId) -> RemoteFuture<'a, (OwnedRoomId, Vec<OwnedServerName>)> {
        nothing()
    }
}

async fn world() -> (Arc<Elsewhere>, TestApp) {
    let elsewhere = Arc::new(Elsewhere::default());
    let rooms: Arc<dyn RemoteRooms> = Arc::clone(&elsewhere) as _;
    (elsewhere, TestApp::among(ClientApiConfig::default(), rooms, &["alice", "bob"]).await)
}

#[tokio::test]
async fn an_invitation_by_state_is_signed_by_both_servers() {
    let (elsewhere, test) = world().await;
    let room = test.room("alice", json!({})).await;
    let invite = json!({"membership": "invite", "reason": "dinner"});
    let answer = test.set("alice", &room, "m.room.member", "@carl:far", invite.clone()).await.ok();
    assert_eq!(answer["event_id"], "$signed");
    assert_eq!(*elsewhere.0.lock(), [("@alice:hs".to_owned(), "@carl:far".to_owned(), invite.clone())]);
    // It is for the other server to bring it in.
    assert_eq!(test.state(&room, "m.room.member", "@carl:far").await, Value::Null);
    test.set("alice", &room, "m.room.member", "@dora:grumpy", invite.clone()).await.refused(403, "M_FORBIDDEN");
    assert_eq!(test.state(&room, "m.room.member", "@dora:grumpy").await, Value::Null);
    // Users of this server and other memberships are its own affair.
    test.set("alice", &room, "m.room.member", "@bob:hs", invite).await.ok();
    let ban = json!({"membership": "ban"});
    test.set("alice", &room, "m.room.member", "@eve:far", ban.clone()).await.ok();
    assert_eq!(test.state(&room, "m.room.member", "@eve:far").await, ban);
    assert_eq!(elsewhere.0.lock().len(), 2);
}

#[tokio::test]
async fn a_new_room_invites_users_of_other_servers_once_it_is_there() {
    let (elsewhere, test) = world().await;
    let member = |user: &str, reason: &str| json!({"type": "m.room.member", "state_key": user, "content": {"membership": "invite", "reason": reason}});
    let body = json!({
        "invite": ["@carl:far", "@dora:grumpy", "@bob:hs"],
        "initial_state": [member("@carl:far", "by state"), member("@finn:far", "too")],
        "is_direct": true,
    });
    let room = test.room("alice", body).await;
    let asked: Vec<(String, Value)> =
        elsewhere.0.lock().iter().map(|(_, user, content)| (user.clone(), content["reason"].clone())).collect();
    let expected = [("@carl:far", json!("by state")), ("@dora:grumpy", Value::Null), ("@finn:far", json!("too"))];
    assert_eq!(asked, expected.map(|(user, reason)| (user.to_owned(), reason)));
    assert_eq!(test.state(&room, "m.room.member", "@bob:hs").await["membership"], "invite");
    for user in ["@carl:far", "@dora:grumpy", "@finn:far"] {
        assert_eq!(test.state(&room, "m.room.member", user).await, Value::Null, "{user}");
    }
    // A server that reaches no others says so before there is a room.
    let alone = TestApp::new(&["alice"]).await;
    let body = json!({"initial_state": [member("@carl:far", "x")]});
    alone.post("alice", "/v3/createRoom", body).await.refused(403, "M_FORBIDDEN");
    let body = json!({"initial_state": [member("@nobody:hs", "x")]});
    alone.post("alice", "/v3/createRoom", body).await.refused(404, "M_NOT_FOUND");
    assert_eq!(alone.get("alice", "/v3/joined_rooms").await.ok()["joined_rooms"], json!([]));
}
