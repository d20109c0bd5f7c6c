//! `GET /_matrix/client/v3/profile/{userId}/{keyName}`

use axum::extract::State;
use bytes::Bytes;
use engine::splice::push_json_string;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::api::client::profile::get_profile_field::v3::Request;

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let owner = app.profile_owner(&request.body.user_id).await?;
    let key = request.body.field.as_str();
    let value = app.users.profiles.get(owner, key).await?;
    let value = value.ok_or_else(|| MatrixError::not_found("The profile has no such field"))?;
    let mut out = String::from("{");
    push_json_string(&mut out, key);
    out.push(':');
    out.push_str(value.get());
    out.push('}');
    Ok(RawJson(Bytes::from(out)))
}
