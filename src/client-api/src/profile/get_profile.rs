//! `GET /_matrix/client/v3/profile/{userId}`

use axum::extract::State;
use bytes::Bytes;
use engine::splice::push_json_string;
use http_kit::{RawJson, Ruma};
use ruma::api::client::profile::get_profile::v3::Request;

use super::remote_reply;
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let user_id = &request.body.user_id;
    if !app.engine.is_local(user_id) {
        return remote_reply(app.remotes.profile(user_id, None).await?);
    }
    let owner = app.profile_owner(user_id).await?;
    let mut out = String::from("{");
    for field in app.users.profiles.all(owner).await? {
        if out.len() > 1 {
            out.push(',');
        }
        push_json_string(&mut out, &field.key);
        out.push(':');
        out.push_str(field.value.get());
    }
    out.push('}');
    Ok(RawJson(Bytes::from(out)))
}
