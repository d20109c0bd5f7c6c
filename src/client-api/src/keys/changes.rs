//! `GET /_matrix/client/v3/keys/changes`

use axum::extract::State;
use bytes::Bytes;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::api::client::keys::get_key_changes::v3::Request;
use serde_json::json;

use crate::{ApiError, App, page::SyncToken};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let token = |text: &str, field: &str| {
        SyncToken::decode(text).map_err(|_| MatrixError::invalid_param(field, "not a sync token of this server"))
    };
    // Where it ends is a hint: what changed behind it is no secret, and only the newest change of each user is known.
    let (from, _) = (token(&body.from, "from")?, token(&body.to, "to")?);
    let lists = app.device_lists_since(requester.user, from.pos).await?;
    let answer = json!({"changed": lists.changed, "left": lists.left});
    Ok(RawJson(Bytes::from(answer.to_string())))
}
