//! `GET /_matrix/client/v3/voip/turnServer`

use axum::extract::State;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::{UserId, api::client::voip::get_turn_server_info::v3::Request};
use serde_json::json;
use sha1::Sha1;

use super::TurnConfig;
use crate::{ApiError, App};

/// Where there is no relay, clients learn it from an answer without fields.
pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let turn = &app.config.turn;
    let answer = match credentials(turn, app.engine.now() / 1000, &request.requester.user_id)? {
        Some((username, password)) => {
            json!({"username": username, "password": password, "uris": turn.uris, "ttl": turn.lifetime_seconds})
        }
        None => json!({}),
    };
    Ok(RawJson(answer.to_string().into()))
}

/// A name and a password for a user, at a Unix time in seconds: a name that says until when it is good, and the relay's secret over it
/// (draft-uberti-behave-turn-rest).
fn credentials(turn: &TurnConfig, now: u64, user: &UserId) -> Result<Option<(String, String)>, MatrixError> {
    if turn.uris.is_empty() {
        return Ok(None);
    }
    let Some(secret) = &turn.shared_secret else {
        let password = turn.password.as_ref().map(|password| password.reveal().to_owned());
        return Ok(turn.username.clone().zip(password));
    };
    let username = format!("{}:{user}", now.saturating_add(turn.lifetime_seconds));
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.reveal().as_bytes()).map_err(MatrixError::internal)?;
    mac.update(username.as_bytes());
    let password = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    Ok(Some((username, password)))
}
