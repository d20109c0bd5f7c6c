//! `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::config::set_room_account_data::v3::{Request, Response};

use super::refuse_managed;
use crate::{ApiError, App, own::only_own};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    only_own(&requester, &body.user_id)?;
    let event_type = body.event_type.to_string();
    refuse_managed(&event_type)?;
    app.has_place(&body.room_id, &requester).await?;
    app.users.account_data.set(requester.user, Some(&body.room_id), &event_type, body.data.json()).await?;
    Ok(Response::new())
}
