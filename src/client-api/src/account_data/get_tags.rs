//! `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`

use axum::extract::State;
use bytes::Bytes;
use http_kit::{RawJson, Ruma};
use ruma::api::client::tag::get_tags::v3::Request;
use serde_json::json;

use crate::{ApiError, App, own::only_own};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    only_own(&requester, &body.user_id)?;
    let tags = app.users.account_data.tags(requester.user, &body.room_id).await?;
    Ok(RawJson(Bytes::from(json!({"tags": tags}).to_string())))
}
