//! `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`

use axum::extract::State;
use http_kit::{RawJson, Ruma};
use ruma::api::client::config::get_room_account_data::v3::Request;

use super::answer;
use crate::{ApiError, App, own::only_own};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    only_own(&requester, &body.user_id)?;
    let event_type = body.event_type.to_string();
    answer(app.users.account_data.get(requester.user, Some(&body.room_id), &event_type).await?)
}
