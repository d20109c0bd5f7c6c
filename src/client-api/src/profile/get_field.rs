//! `GET /_matrix/client/v3/profile/{userId}/{keyName}`

use axum::extract::State;
use bytes::Bytes;
use engine::splice::push_json_string;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::api::client::profile::get_profile_field::v3::Request;

use super::remote_reply;
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let (user_id, key) = (&request.body.user_id, request.body.field.as_str());
    let not_set = || MatrixError::not_found("The profile has no such field");
    if !app.engine.is_local(user_id) {
        let fields = app.remotes.profile(user_id, Some(key)).await?;
        return if fields.is_empty() { Err(not_set().into()) } else { remote_reply(fields) };
    }
    let owner = app.profile_owner(user_id).await?;
    let value = app.users.profiles.get(owner, key).await?;
    let value = value.ok_or_else(not_set)?;
    let mut out = String::from("{");
    push_json_string(&mut out, key);
    out.push(':');
    out.push_str(value.get());
    out.push('}');
    Ok(RawJson(Bytes::from(out)))
}
