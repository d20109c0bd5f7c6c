//! The seam to other servers for what clients ask about them: profiles, aliases, directories, spaces, events by time, keys.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use engine::{Direction, Listing, Room, SpaceView};
use futures::{FutureExt as _, future::BoxFuture};
use http::StatusCode;
use http_kit::MatrixError;
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomId, ServerName, UserId, directory::Filter,
};
use serde_json::{Map, Value};
use users::encryption::{RemoteList, UserKeys};

use crate::ApiError;

/// Why another server's answer cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RemoteError {
    /// It has no such thing.
    #[error("the other server knows nothing of this")]
    NotFound,
    /// It refuses to answer.
    #[error("the other server refused: {error}")]
    Refused {
        /// Its status, 400 to 499.
        status: StatusCode,
        /// Its `errcode`.
        errcode: String,
        /// Its words.
        error: String,
    },
    /// It cannot be reached, or its answer makes no sense.
    #[error("the other server gives no answer")]
    Unreachable,
}

impl From<RemoteError> for ApiError {
    fn from(error: RemoteError) -> Self {
        let text = error.to_string();
        Self(match error {
            RemoteError::NotFound => MatrixError::not_found(text),
            RemoteError::Refused { status: StatusCode::FORBIDDEN, .. } => MatrixError::forbidden(text),
            // Its complaint about what we asked is not one about what the client asked.
            RemoteError::Refused { .. } | RemoteError::Unreachable => {
                MatrixError::unknown(text).with_status(StatusCode::BAD_GATEWAY)
            }
        })
    }
}

/// What another server is asked for.
pub type RemoteAnswer<'a, T> = BoxFuture<'a, Result<T, RemoteError>>;

/// One-time keys that somebody wants: by user and device, the algorithm.
pub type Claims = BTreeMap<OwnedUserId, BTreeMap<String, String>>;

/// One-time keys that were had: by user, device and `algorithm:id`.
pub type ClaimedKeys = BTreeMap<OwnedUserId, BTreeMap<String, BTreeMap<String, Value>>>;

/// Other servers, as far as clients' questions go.
pub trait RemoteQueries: Send + Sync + fmt::Debug {
    /// The profile of a user of another server, or one field of it.
    fn profile<'a>(&'a self, user_id: &'a UserId, field: Option<&'a str>) -> RemoteAnswer<'a, Map<String, Value>>;

    /// The room that an alias of another server points at, and servers that are in it.
    fn alias<'a>(&'a self, alias: &'a RoomAliasId) -> RemoteAnswer<'a, (OwnedRoomId, Vec<OwnedServerName>)>;

    /// A page of another server's directory.
    fn public_rooms<'a>(
        &'a self,
        server: &'a ServerName,
        filter: &'a Filter,
        since: Option<&'a str>,
        limit: Option<usize>,
    ) -> RemoteAnswer<'a, Listing>;

    /// What the first of some servers that knows a room tells of it and of the rooms in it.
    fn hierarchy<'a>(
        &'a self,
        via: &'a [OwnedServerName],
        room_id: &'a RoomId,
        suggested_only: bool,
    ) -> RemoteAnswer<'a, SpaceView>;

    /// The event that servers in a room know closest to a time, in Unix milliseconds, and when it was sent. The event is fetched
    /// where it is not here.
    fn timestamp_to_event<'a>(
        &'a self,
        room: &'a Arc<Room>,
        ts: u64,
        direction: Direction,
    ) -> RemoteAnswer<'a, (OwnedEventId, u64)>;

    /// The list of the devices of a user of another server, which that server keeps up to date while a room is shared.
    fn device_list<'a>(&'a self, user_id: &'a UserId, timeout: Duration) -> RemoteAnswer<'a, RemoteList>;

    /// Keys of users of another server, each of the devices named or of all. Only keys that were asked for are given.
    fn query_keys<'a>(
        &'a self,
        server: &'a ServerName,
        users: &'a BTreeMap<OwnedUserId, Vec<String>>,
        timeout: Duration,
    ) -> RemoteAnswer<'a, BTreeMap<OwnedUserId, UserKeys>>;

    /// Claims one-time keys of users of another server. Only keys that were asked for are given.
    fn claim_keys<'a>(
        &'a self,
        server: &'a ServerName,
        claims: &'a Claims,
        timeout: Duration,
    ) -> RemoteAnswer<'a, ClaimedKeys>;
}

/// A world without other servers.
#[derive(Debug, Clone, Copy)]
pub struct NoOtherServers;

impl RemoteQueries for NoOtherServers {
    fn profile<'a>(&'a self, _: &'a UserId, _: Option<&'a str>) -> RemoteAnswer<'a, Map<String, Value>> {
        nobody()
    }

    fn alias<'a>(&'a self, _: &'a RoomAliasId) -> RemoteAnswer<'a, (OwnedRoomId, Vec<OwnedServerName>)> {
        nobody()
    }

    fn public_rooms<'a>(
        &'a self,
        _: &'a ServerName,
        _: &'a Filter,
        _: Option<&'a str>,
        _: Option<usize>,
    ) -> RemoteAnswer<'a, Listing> {
        nobody()
    }

    fn hierarchy<'a>(&'a self, _: &'a [OwnedServerName], _: &'a RoomId, _: bool) -> RemoteAnswer<'a, SpaceView> {
        nobody()
    }

    fn timestamp_to_event<'a>(
        &'a self,
        _: &'a Arc<Room>,
        _: u64,
        _: Direction,
    ) -> RemoteAnswer<'a, (OwnedEventId, u64)> {
        nobody()
    }

    fn device_list<'a>(&'a self, _: &'a UserId, _: Duration) -> RemoteAnswer<'a, RemoteList> {
        nobody()
    }

    fn query_keys<'a>(
        &'a self,
        _: &'a ServerName,
        _: &'a BTreeMap<OwnedUserId, Vec<String>>,
        _: Duration,
    ) -> RemoteAnswer<'a, BTreeMap<OwnedUserId, UserKeys>> {
        nobody()
    }

    fn claim_keys<'a>(&'a self, _: &'a ServerName, _: &'a Claims, _: Duration) -> RemoteAnswer<'a, ClaimedKeys> {
        nobody()
    }
}

fn nobody<'a, T: Send + 'a>() -> RemoteAnswer<'a, T> {
    std::future::ready(Err(RemoteError::NotFound)).boxed()
}
