//! Rooms of other servers, for the Client-Server API.

use std::sync::Arc;

use client_api::{RemoteFuture, RemoteInvitation, RemoteJoined, RemoteMembership, RemoteRooms};
use federation::{
    CallError, Federation,
    remote::{Joined, RemoteChange, RemoteInvitee, RemoteJoin},
};
use http_kit::MatrixError;
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomAliasId};

/// Federation as the Client-Server API sees it.
#[derive(Debug)]
pub struct FederatedRooms(pub Arc<Federation>);

fn change(membership: RemoteMembership) -> RemoteChange {
    let RemoteMembership { user_id, room_id, via, content } = membership;
    RemoteChange { user_id, room_id, via, content }
}

impl RemoteRooms for FederatedRooms {
    fn join(&self, join: RemoteMembership, elsewhere: bool) -> RemoteFuture<'_, RemoteJoined> {
        let RemoteMembership { user_id, room_id, via, content } = join;
        let join = RemoteJoin { user_id, room_id, via, content, elsewhere };
        Box::pin(async move {
            Ok(match self.0.join(join).await? {
                Joined::Entered(room) => RemoteJoined::Entered(room),
                Joined::Here(room) => RemoteJoined::Here(room),
            })
        })
    }

    fn knock(&self, knock: RemoteMembership) -> RemoteFuture<'_, ()> {
        Box::pin(async move { Ok(self.0.knock(change(knock)).await?) })
    }

    fn leave(&self, leave: RemoteMembership) -> RemoteFuture<'_, ()> {
        Box::pin(async move { Ok(self.0.leave(change(leave)).await?) })
    }

    fn invite(&self, invitation: RemoteInvitation) -> RemoteFuture<'_, OwnedEventId> {
        let RemoteInvitation { room, sender, invited, content, device } = invitation;
        Box::pin(async move { Ok(self.0.invite(RemoteInvitee { room, sender, invited, content, device }).await?) })
    }

    fn resolve<'a>(&'a self, alias: &'a RoomAliasId) -> RemoteFuture<'a, (OwnedRoomId, Vec<OwnedServerName>)> {
        Box::pin(async move {
            self.0.query_directory(alias).await.map_err(|error| match error {
                CallError::Status { status, .. } if status.is_client_error() => {
                    MatrixError::not_found(format!("{} knows no room with this alias", alias.server_name()))
                }
                other => {
                    let why = format!("{} cannot be asked about this alias: {other}", alias.server_name());
                    MatrixError::new(http::StatusCode::BAD_GATEWAY, "M_UNKNOWN", why)
                }
            })
        })
    }
}
