//! `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::tag::delete_tag::v3::{Request, Response};

use crate::{ApiError, App, own::only_own};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    only_own(&requester, &body.user_id)?;
    app.has_place(&body.room_id, &requester).await?;
    app.users.account_data.delete_tag(requester.user, &body.room_id, &body.tag).await?;
    Ok(Response::new())
}
