//! `POST /_matrix/client/v3/rooms/{roomId}/forget`

use axum::extract::State;
use engine::Membership;
use http_kit::{MatrixError, Ruma};
use ruma::api::client::membership::forget_room::v3::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let room = app.known_room(&body.room_id).await?;
    match app.engine.forget(&room, requester.user).await? {
        None | Some(Membership::Leave | Membership::Ban) => Ok(Response::new()),
        Some(_) => Err(MatrixError::unknown("Leave the room before you forget it").into()),
    }
}
