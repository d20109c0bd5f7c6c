//! The seam to rooms of other servers: what a membership needs that this server cannot do alone.

use std::{fmt::Debug, future::Future, pin::Pin, sync::Arc};

use engine::Room;
use http_kit::MatrixError;
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId};
use serde_json::{Map, Value};

/// What a request to another server gives, or what the client is to be told.
pub type RemoteFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, MatrixError>> + Send + 'a>>;

/// A user enters, knocks at or leaves a room through another server.
#[derive(Debug, Clone)]
pub struct RemoteMembership {
    /// Whose membership it is.
    pub user_id: OwnedUserId,
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that the client says to ask.
    pub via: Vec<OwnedServerName>,
    /// The content of the membership event, but for the membership itself.
    pub content: Map<String, Value>,
}

/// What became of a join.
#[derive(Debug, Clone)]
pub enum RemoteJoined {
    /// The user is in the room.
    Entered(Arc<Room>),
    /// Another user of this server entered the room meanwhile: it can be joined without asking anybody.
    Here(Arc<Room>),
}

/// An invitation of a user of another server.
#[derive(Debug, Clone)]
pub struct RemoteInvitation {
    /// The room.
    pub room: Arc<Room>,
    /// Who invites.
    pub sender: OwnedUserId,
    /// Who is invited.
    pub invited: OwnedUserId,
    /// The content of the membership event: the text of a JSON object.
    pub content: String,
    /// The sending device.
    pub device: Option<String>,
}

/// Rooms and aliases of other servers.
pub trait RemoteRooms: Send + Sync + Debug {
    /// Joins a room. `elsewhere` says that this server is in it, but cannot let the user in.
    fn join(&self, join: RemoteMembership, elsewhere: bool) -> RemoteFuture<'_, RemoteJoined>;

    /// Knocks at a room.
    fn knock(&self, knock: RemoteMembership) -> RemoteFuture<'_, ()>;

    /// Leaves a room in which nobody else of this server is, refuses an invitation to it, or takes back a knock. Succeeds here also where
    /// no other server can be told.
    fn leave(&self, leave: RemoteMembership) -> RemoteFuture<'_, ()>;

    /// Whether other servers can be reached at all.
    fn reaches_others(&self) -> bool {
        true
    }

    /// Invites a user of another server.
    fn invite(&self, invitation: RemoteInvitation) -> RemoteFuture<'_, OwnedEventId>;

    /// The room that an alias of another server points at, and servers that are in it.
    fn resolve<'a>(&'a self, alias: &'a RoomAliasId) -> RemoteFuture<'a, (OwnedRoomId, Vec<OwnedServerName>)>;
}

/// For a server that speaks to no other.
#[derive(Debug, Clone, Copy)]
pub struct NoRemoteRooms;

fn refused<'a, T: Send + 'a>(error: MatrixError) -> RemoteFuture<'a, T> {
    Box::pin(std::future::ready(Err(error)))
}

impl RemoteRooms for NoRemoteRooms {
    fn reaches_others(&self) -> bool {
        false
    }

    fn join(&self, _: RemoteMembership, _: bool) -> RemoteFuture<'_, RemoteJoined> {
        refused(MatrixError::not_found("Room not found"))
    }

    fn knock(&self, _: RemoteMembership) -> RemoteFuture<'_, ()> {
        refused(MatrixError::not_found("Room not found"))
    }

    fn leave(&self, _: RemoteMembership) -> RemoteFuture<'_, ()> {
        refused(MatrixError::forbidden("You are not in this room"))
    }

    fn invite(&self, _: RemoteInvitation) -> RemoteFuture<'_, OwnedEventId> {
        let why = "This server does not reach other servers: only its own users can be invited";
        refused(MatrixError::forbidden(why))
    }

    fn resolve<'a>(&'a self, _: &'a RoomAliasId) -> RemoteFuture<'a, (OwnedRoomId, Vec<OwnedServerName>)> {
        refused(MatrixError::not_found("No room has this alias"))
    }
}
