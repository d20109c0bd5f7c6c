//! `GET /_matrix/client/v3/directory/list/room/{roomId}`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::{
    directory::get_room_visibility::v3::{Request, Response},
    room::Visibility,
};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let room = app.room(&request.body.room_id).await?;
    let public = app.engine.is_public(room.num).await?;
    Ok(Response::new(if public { Visibility::Public } else { Visibility::Private }))
}
