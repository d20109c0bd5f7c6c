//! `GET /_matrix/client/v3/directory/room/{roomAlias}`

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::{
    OwnedRoomId, OwnedServerName, RoomAliasId,
    api::client::alias::get_alias::v3::{Request, Response},
};

use crate::{ApiError, App};

/// Servers named, at most.
const MAX_SERVERS: usize = 50;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let (room_id, servers) = app.resolve_alias(&request.body.room_alias).await?;
    Ok(Response::new(room_id, servers))
}

impl App {
    /// The room that an alias points at, and servers that are in it; that of another server is asked for its own.
    ///
    /// # Errors
    /// 404 `M_NOT_FOUND`; 502 where the other server gives no answer.
    pub(crate) async fn resolve_alias(
        &self,
        alias: &RoomAliasId,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), ApiError> {
        let us = &self.engine.identity.server_name;
        let not_found = || MatrixError::not_found(format!("Room alias {alias} not found"));
        if alias.server_name() != us {
            return match self.remotes.alias(alias).await {
                Err(crate::RemoteError::NotFound) => Err(not_found().into()),
                other => Ok(other?),
            };
        }
        let row = self.local_alias(alias).await?.ok_or_else(not_found)?;
        let room_id = OwnedRoomId::try_from(row.room_id).map_err(MatrixError::internal)?;
        let mut servers = vec![us.clone()];
        if let Ok(room) = self.engine.room(&room_id).await {
            servers.extend(self.engine.servers(&room).await?.into_iter().take(MAX_SERVERS));
        }
        Ok((room_id, servers))
    }
}
