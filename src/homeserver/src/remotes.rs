//! What clients ask of other servers, by way of federation.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use client_api::{ClaimedKeys, Claims, RemoteAnswer, RemoteError, RemoteQueries};
use engine::{Direction, Listing, Room, SpaceView};
use federation::{CallError, Federation};
use futures::FutureExt as _;
use http::StatusCode;
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomId, ServerName, UserId, directory::Filter,
};
use serde_json::{Map, Value};
use users::encryption::{RemoteList, UserKeys};

/// Servers asked about one room, at most.
const MAX_VIA: usize = 3;

/// [`RemoteQueries`] over [`Federation`].
#[derive(Debug)]
pub struct Remotes(pub Arc<Federation>);

fn refused(error: CallError) -> RemoteError {
    match error {
        CallError::Status { status: StatusCode::NOT_FOUND, .. } => RemoteError::NotFound,
        CallError::Status { status, errcode, error, .. } if status.is_client_error() => {
            RemoteError::Refused { status, errcode, error }
        }
        _ => RemoteError::Unreachable,
    }
}

impl RemoteQueries for Remotes {
    fn profile<'a>(&'a self, user_id: &'a UserId, field: Option<&'a str>) -> RemoteAnswer<'a, Map<String, Value>> {
        async move { self.0.query_profile(user_id, field).await.map_err(refused) }.boxed()
    }

    fn alias<'a>(&'a self, alias: &'a RoomAliasId) -> RemoteAnswer<'a, (OwnedRoomId, Vec<OwnedServerName>)> {
        async move { self.0.query_directory(alias).await.map_err(refused) }.boxed()
    }

    fn public_rooms<'a>(
        &'a self,
        server: &'a ServerName,
        filter: &'a Filter,
        since: Option<&'a str>,
        limit: Option<usize>,
    ) -> RemoteAnswer<'a, Listing> {
        async move { self.0.query_public_rooms(server, filter, since, limit).await.map_err(refused) }.boxed()
    }

    fn hierarchy<'a>(
        &'a self,
        via: &'a [OwnedServerName],
        room_id: &'a RoomId,
        suggested_only: bool,
    ) -> RemoteAnswer<'a, SpaceView> {
        async move {
            let mut last = RemoteError::NotFound;
            for server in via.iter().take(MAX_VIA) {
                match self.0.query_hierarchy(server, room_id, suggested_only).await {
                    Ok(view) => return Ok(view),
                    Err(error) => last = refused(error),
                }
            }
            Err(last)
        }
        .boxed()
    }

    fn timestamp_to_event<'a>(
        &'a self,
        room: &'a Arc<Room>,
        ts: u64,
        direction: Direction,
    ) -> RemoteAnswer<'a, (OwnedEventId, u64)> {
        async move {
            let found = self.0.timestamp_to_event(room, ts, direction).await;
            let found = found.map_err(|error| {
                tracing::debug!(room = %room.id, %error, "the event of a time could not be had");
                RemoteError::Unreachable
            })?;
            found.ok_or(RemoteError::NotFound)
        }
        .boxed()
    }

    fn device_list<'a>(&'a self, user_id: &'a UserId, timeout: Duration) -> RemoteAnswer<'a, RemoteList> {
        async move { self.0.device_list(user_id, timeout).await.map_err(refused) }.boxed()
    }

    fn query_keys<'a>(
        &'a self,
        server: &'a ServerName,
        users: &'a BTreeMap<OwnedUserId, Vec<String>>,
        timeout: Duration,
    ) -> RemoteAnswer<'a, BTreeMap<OwnedUserId, UserKeys>> {
        async move { self.0.query_keys(server, users, timeout).await.map_err(refused) }.boxed()
    }

    fn claim_keys<'a>(
        &'a self,
        server: &'a ServerName,
        claims: &'a Claims,
        timeout: Duration,
    ) -> RemoteAnswer<'a, ClaimedKeys> {
        async move { self.0.claim_keys(server, claims, timeout).await.map_err(refused) }.boxed()
    }
}
