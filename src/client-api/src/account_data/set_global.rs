//! `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::config::set_global_account_data::v3::{Request, Response};

use super::refuse_managed;
use crate::{ApiError, App, own::only_own};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    only_own(&requester, &body.user_id)?;
    let event_type = body.event_type.to_string();
    refuse_managed(&event_type)?;
    app.users.account_data.set(requester.user, None, &event_type, body.data.json()).await?;
    Ok(Response::new())
}
