//! `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`

use axum::extract::State;
use http_kit::{MatrixError, Ruma, WithJson};
use ruma::{
    RoomId, UserId,
    api::client::tag::create_tag::v3::{Request, Response},
};
use users::account_data::Tag;

use crate::{ApiError, App, own::only_own};

/// The body is read by our own type, which keeps what clients put beside `order`.
type Body = WithJson<Request, Tag>;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Body>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let [user_id, room_id, tag] = body.path.as_slice() else {
        return Err(MatrixError::unrecognized("No such path").into());
    };
    let user_id = <&UserId>::try_from(user_id.as_str()).map_err(|error| MatrixError::invalid_param("userId", error))?;
    let room_id = <&RoomId>::try_from(room_id.as_str()).map_err(|error| MatrixError::invalid_param("roomId", error))?;
    only_own(&requester, user_id)?;
    if body.json.order.is_some_and(|order| !(0.0..=1.0).contains(&order)) {
        return Err(MatrixError::invalid_param("order", "not between 0 and 1").into());
    }
    app.has_place(room_id, &requester).await?;
    app.users.account_data.set_tag(requester.user, room_id, tag, body.json).await?;
    Ok(Response::new())
}
