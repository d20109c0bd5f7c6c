//! `PUT /_matrix/client/v3/profile/{userId}/{keyName}`

use std::collections::HashMap;

use axum::extract::State;
use http_kit::{Group, MatrixError, Requester, Ruma, WithJson};
use ruma::{
    UserId,
    api::client::profile::set_profile_field::v3::{Request, Response},
};
use serde_json::value::RawValue;

use crate::{ApiError, App, own::only_own};

/// The value is of whatever kind the field's name says, so it is read as it is and judged when it is set.
type Body = WithJson<Request, HashMap<String, Box<RawValue>>>;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Body>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    requester.not_suspended()?;
    app.limits.check(Group::Profile, &requester)?;
    let [user_id, key] = body.path.as_slice() else { return Err(MatrixError::unrecognized("No such path").into()) };
    let user_id = <&UserId>::try_from(user_id.as_str()).map_err(|error| MatrixError::invalid_param("userId", error))?;
    only_own(&requester, user_id)?;
    let value = body.json.get(key).ok_or_else(|| MatrixError::missing_param(key))?;
    app.set_profile_field(&requester, key, value).await?;
    Ok(Response::new())
}

impl App {
    /// Sets a field of a user's own profile, also where it is copied into membership events.
    ///
    /// # Errors
    /// Those of the profile and of the store.
    pub async fn set_profile_field(&self, requester: &Requester, key: &str, value: &RawValue) -> Result<(), ApiError> {
        self.users.profiles.set(requester.user, key, value).await?;
        self.propagate_profile(requester, key).await
    }
}
