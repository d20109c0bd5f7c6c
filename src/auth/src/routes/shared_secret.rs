//! `GET` and `POST /_synapse/admin/v1/register`: accounts made by tools that know a secret.

use std::sync::Arc;

use axum::extract::State;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_kit::{JsonBody, MatrixError, RawJson};
use serde::Deserialize;
use serde_json::{json, value::to_raw_value};
use sha1::Sha1;
use users::accounts::NewAccount;

use crate::{config::Secret, error::RouteError, sessions::DeviceWish, state::Auth};

#[derive(Deserialize)]
pub(super) struct Body {
    nonce: String,
    username: String,
    password: String,
    mac: String,
    #[serde(default)]
    admin: Option<bool>,
    #[serde(default)]
    displayname: Option<String>,
    #[serde(default)]
    user_type: Option<String>,
    #[serde(default)]
    inhibit_login: Option<bool>,
}

pub(super) async fn nonce(State(auth): State<Arc<Auth>>) -> Result<RawJson, RouteError> {
    secret(&auth)?;
    let nonce = auth.nonces.issue(&auth.entropy);
    Ok(RawJson(json!({ "nonce": nonce }).to_string().into()))
}

pub(super) async fn register(
    State(auth): State<Arc<Auth>>,
    JsonBody(body): JsonBody<Body>,
) -> Result<RawJson, RouteError> {
    let secret = secret(&auth)?;
    if !auth.nonces.take(&body.nonce) {
        return Err(MatrixError::unknown("This nonce is not known, or it was used, or it is too old").into());
    }
    if !signed(&body, secret)? {
        return Err(MatrixError::unknown("The mac is not right").with_status(http::StatusCode::FORBIDDEN).into());
    }
    let localpart = body.username.to_ascii_lowercase();
    auth.check_not_owned(&localpart)?;
    let hash = auth.passwords.hash(body.password, auth.entropy.bytes()).await?;
    let new = NewAccount { admin: body.admin == Some(true), password_hash: Some(hash), ..NewAccount::user(localpart) };
    let created = auth.create_account(new, DeviceWish::default(), body.inhibit_login == Some(true)).await?;
    if let Some(name) = body.displayname {
        let value = to_raw_value(&name).map_err(MatrixError::internal)?;
        let user = auth.users.number(&created.user_id).await?;
        auth.users.profiles.set(user, "displayname", &value).await?;
    }
    let mut answer = json!({ "user_id": created.user_id, "home_server": auth.server_name });
    if let (Some(token), Some(device), Some(fields)) = (created.access_token, created.device_id, answer.as_object_mut())
    {
        fields.insert("access_token".to_owned(), token.into());
        fields.insert("device_id".to_owned(), device.as_str().into());
    }
    Ok(RawJson(answer.to_string().into()))
}

fn secret(auth: &Auth) -> Result<&Secret, MatrixError> {
    let secret = auth.config.registration.shared_secret.as_ref();
    secret.ok_or_else(|| MatrixError::unknown("Shared secret registration is not enabled"))
}

/// Compares in constant time. The name counts as it was sent, not as it is stored.
fn signed(body: &Body, secret: &Secret) -> Result<bool, MatrixError> {
    let admin = if body.admin == Some(true) { "admin" } else { "notadmin" };
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.reveal().as_bytes()).map_err(MatrixError::internal)?;
    let parts = [&*body.nonce, &body.username, &body.password, admin];
    for (index, part) in parts.into_iter().chain(body.user_type.as_deref()).enumerate() {
        if index > 0 {
            mac.update(&[0]);
        }
        mac.update(part.as_bytes());
    }
    Ok(hex::decode(&body.mac).is_ok_and(|given| mac.verify_slice(&given).is_ok()))
}
