//! `GET /_matrix/federation/v1/query/directory`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory)).

use axum::extract::State;
use engine::EngineError;
use http_kit::{MatrixError, route_error};
use ruma::{
    OwnedRoomId,
    api::federation::query::get_room_information::v1::{Request, Response},
};

use super::Signed;
use crate::Api;

/// Servers named, at most.
const MAX_SERVERS: usize = 50;

#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("There is no such room alias")]
    UnknownAlias,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::UnknownAlias => Self::not_found(error.to_string()),
            RouteError::Engine(error) => Self::internal(error),
        }
    }
}

route_error!(RouteError);

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<Response, RouteError> {
    let row = api.alias_or_made(&request.body.room_alias).await?.ok_or(RouteError::UnknownAlias)?;
    let room_id = OwnedRoomId::try_from(row.room_id).map_err(|_| RouteError::UnknownAlias)?;
    let mut servers = vec![api.server_name().to_owned()];
    if let Ok(room) = api.engine.room(&room_id).await {
        servers.extend(api.engine.servers(&room).await?.into_iter().take(MAX_SERVERS));
    }
    Ok(Response::new(room_id, servers))
}
