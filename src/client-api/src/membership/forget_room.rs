//! `POST /_matrix/client/v3/rooms/{roomId}/forget`

use axum::extract::State;
use engine::Membership;
use http_kit::{MatrixError, Ruma};
use ruma::api::client::membership::forget_room::v3::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    // Of an invitation that was refused nothing but the place is here.
    let membership = match app.engine.place_outside(&body.room_id, requester.user).await? {
        Some(_) => app.engine.forget_outside(&body.room_id, requester.user).await?,
        None => app.engine.forget(&app.known_room(&body.room_id).await?, requester.user).await?,
    };
    match membership {
        None | Some(Membership::Leave | Membership::Ban) => Ok(Response::new()),
        Some(_) => Err(MatrixError::unknown("Leave the room before you forget it").into()),
    }
}
