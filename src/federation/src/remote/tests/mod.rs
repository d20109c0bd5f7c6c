mod devices;
mod first_versions;
mod hostile;
mod invites;
mod joins;
mod media;
mod partial;
mod policy;
mod restricted;
mod shown;

use engine::{Membership, UserRoom};
use ruma::{OwnedRoomId, RoomId, RoomVersionId, UserId};
use serde_json::{Map, Value, json};

use super::{Joined, RemoteChange, RemoteError, RemoteInvitee, RemoteJoin};
use crate::testing::{TestServer, World};

const VERSIONS: [RoomVersionId; 7] = [
    RoomVersionId::V1,
    RoomVersionId::V2,
    RoomVersionId::V3,
    RoomVersionId::V6,
    RoomVersionId::V10,
    RoomVersionId::V11,
    RoomVersionId::V12,
];

/// Those in which one can knock.
fn with_knocking() -> impl Iterator<Item = RoomVersionId> {
    VERSIONS.into_iter().filter(|version| version.rules().unwrap().authorization.knocking)
}

fn content(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn join_of(user_id: &UserId, room: &RoomId, via: &[&str]) -> RemoteJoin {
    RemoteJoin {
        user_id: user_id.to_owned(),
        room_id: room.to_owned(),
        via: via.iter().map(|server| (*server).try_into().unwrap()).collect(),
        content: content(json!({"displayname": "B"})),
        elsewhere: false,
    }
}

async fn join(server: &TestServer, user_id: &UserId, room: &RoomId, via: &[&str]) -> Result<Joined, RemoteError> {
    let joined = server.federation().join(join_of(user_id, room, via)).await;
    if let Ok(Joined::Entered(room)) = &joined {
        // Members come behind; most of what is looked at here needs them.
        let _ = server.engine().whole(room, std::time::Duration::from_secs(5)).await;
    }
    joined
}

fn change_of(user_id: &UserId, room: &RoomId, via: &[&str]) -> RemoteChange {
    let RemoteJoin { user_id, room_id, via, .. } = join_of(user_id, room, via);
    RemoteChange { user_id, room_id, via, content: Map::new() }
}

async fn invite(from: &TestServer, sender: &UserId, room: &RoomId, invited: &UserId) -> Result<(), RemoteError> {
    let invite = RemoteInvitee {
        room: from.room(room).await,
        sender: sender.to_owned(),
        invited: invited.to_owned(),
        content: json!({"membership": "invite"}).to_string(),
        device: None,
    };
    from.federation().invite(invite).await.map(|_| ())
}

/// A user's place in a room, as their own server has it.
async fn place(server: &TestServer, user_id: &UserId, room: &RoomId) -> Option<UserRoom> {
    let engine = server.engine();
    let num = engine.ids.find(store::IdKind::Room, room.as_str()).await.unwrap()?;
    let user = engine.user_num(user_id).await.unwrap();
    engine.user_rooms().get(user, num).await.unwrap()
}

async fn membership(server: &TestServer, user_id: &UserId, room: &RoomId) -> Option<Membership> {
    place(server, user_id, room).await.map(|place| place.membership)
}

/// Changes the room's join rules.
async fn join_rules(server: &TestServer, room: &RoomId, user_id: &UserId, rules: Value) {
    server.set(room, user_id, "m.room.join_rules", "", rules).await.unwrap();
}

/// A world of two servers, and a public room of Ann's on the first.
async fn with_room(version: RoomVersionId) -> (World, OwnedRoomId) {
    let world = World::new(&["one", "two"]);
    let one = world.server("one");
    let ann = one.register("ann").await;
    let room = one.create_room(&ann, version).await;
    world.server("two").register("ben").await;
    (world, room)
}

fn errcode(error: &RemoteError) -> Option<&str> {
    match error {
        RemoteError::Call { error: crate::CallError::Status { errcode, .. }, .. } => Some(errcode),
        _ => None,
    }
}
