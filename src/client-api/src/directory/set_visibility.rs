//! `PUT /_matrix/client/v3/directory/list/room/{roomId}`

use axum::extract::State;
use http_kit::{MatrixError, Ruma, WithJson};
use ruma::{
    RoomId,
    api::client::directory::set_room_visibility::v3::{Request, Response},
};
use serde::Deserialize;

use crate::{ApiError, App};

#[derive(Deserialize)]
pub(super) struct Body {
    visibility: Option<String>,
}

pub(super) async fn handler(
    State(app): State<App>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    requester.not_suspended()?;
    let [room_id] = body.path.as_slice() else { return Err(MatrixError::unrecognized("No such path").into()) };
    let room_id = <&RoomId>::try_from(room_id.as_str()).map_err(|error| MatrixError::invalid_param("roomId", error))?;
    let public = match body.json.visibility.as_deref() {
        None | Some("public") => true,
        Some("private") => false,
        Some(_) => return Err(MatrixError::invalid_param("visibility", "neither public nor private").into()),
    };
    let room = app.room(room_id).await?;
    if !app.may_publish(&room, &requester).await? {
        return Err(MatrixError::forbidden("Only the room's moderators decide whether it is listed").into());
    }
    if public && !app.config.allow_public_rooms {
        return Err(MatrixError::forbidden("This server lists no rooms").into());
    }
    app.engine.set_public(room.num, public).await?;
    Ok(Response::new())
}
