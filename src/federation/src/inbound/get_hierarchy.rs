//! `GET /_matrix/federation/v1/hierarchy/{roomId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid)).

use axum::extract::State;
use engine::{EngineError, SpaceView};
use http_kit::{MatrixError, RawJson, route_error};
use ruma::{RoomId, ServerName, api::federation::space::get_hierarchy::v1::Request};

use super::Signed;
use crate::Api;

/// Rooms of the space that are described, at most; the others can be asked for by themselves.
const MAX_DESCRIBED: usize = 100;

#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("This server does not know the room, or nobody of yours may look into it")]
    UnknownRoom,
    #[error(transparent)]
    Engine(EngineError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<EngineError> for RouteError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::UnknownRoom => Self::UnknownRoom,
            other => Self::Engine(other),
        }
    }
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::UnknownRoom => Self::not_found(error.to_string()),
            RouteError::Engine(error) => Self::internal(error),
            RouteError::Json(error) => Self::internal(error),
        }
    }
}

route_error!(RouteError);

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, RouteError> {
    let Signed { body, origin, .. } = request;
    let room = api.engine.room(&body.room_id).await?;
    if !api.engine.is_current(&room) || !api.engine.server_may_preview(&room, &origin).await? {
        return Err(RouteError::UnknownRoom);
    }
    let room = api.engine.space_room(&room, body.suggested_only).await?;
    let mut view = SpaceView { room, children: Vec::new(), inaccessible_children: Vec::new() };
    for child in view.room.children_state.iter().take(MAX_DESCRIBED) {
        let Some((room_id, _)) = child.child() else { continue };
        describe(&api, &origin, &room_id, &mut view.children, &mut view.inaccessible_children).await?;
    }
    Ok(RawJson(serde_json::to_vec(&view)?.into()))
}

/// A child goes to those that the server may look into or to those that it may not; to neither where it is not known here.
async fn describe(
    api: &Api,
    server: &ServerName,
    room_id: &RoomId,
    open: &mut Vec<engine::RoomSummary>,
    closed: &mut Vec<ruma::OwnedRoomId>,
) -> Result<(), RouteError> {
    let room = match api.engine.room(room_id).await {
        Err(EngineError::UnknownRoom) => return Ok(()),
        other => other?,
    };
    if !api.engine.is_current(&room) {
        return Ok(());
    }
    if api.engine.server_may_preview(&room, server).await? {
        open.push(api.engine.summary(&room).await?);
    } else {
        closed.push(room.id.clone());
    }
    Ok(())
}
