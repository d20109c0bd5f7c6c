//! `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`

use axum::extract::State;
use http_kit::{Group, Ruma};
use ruma::api::client::profile::delete_profile_field::v3::{Request, Response};

use crate::{ApiError, App, own::only_own};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    requester.not_suspended()?;
    app.limits.check(Group::Profile, &requester)?;
    only_own(&requester, &body.user_id)?;
    let key = body.field.as_str();
    app.users.profiles.delete(requester.user, key).await?;
    app.propagate_profile(&requester, key).await?;
    Ok(Response::new())
}
