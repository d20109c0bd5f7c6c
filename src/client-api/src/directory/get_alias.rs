//! `GET /_matrix/client/v3/directory/room/{roomAlias}`

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::{
    OwnedRoomId,
    api::client::alias::get_alias::v3::{Request, Response},
};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let alias = &request.body.room_alias;
    let row = app.engine.alias(alias.as_str()).await?;
    let row = row.ok_or_else(|| MatrixError::not_found(format!("Room alias {alias} not found")))?;
    let room_id = OwnedRoomId::try_from(row.room_id).map_err(MatrixError::internal)?;
    Ok(Response::new(room_id, vec![app.engine.identity.server_name.clone()]))
}
