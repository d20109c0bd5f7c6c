//! `POST /_matrix/client/v3/account/password`

use std::sync::Arc;

use axum::extract::State;
use http_kit::{MatrixError, Ruma, WithJson};
use ruma::api::client::account::change_password::v3::{Request, Response};
use serde::Deserialize;

use crate::{error::RouteError, operation::Operation, sessions::uninterrupted, state::Auth};

/// Clients ask for the flows before they send the password.
#[derive(Deserialize)]
pub(super) struct Body {
    #[serde(default)]
    new_password: Option<String>,
    #[serde(default)]
    logout_devices: Option<bool>,
}

pub(super) async fn handler(
    State(auth): State<Arc<Auth>>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<Response, RouteError> {
    let requester = request.requester.ok_or_else(|| MatrixError::missing_token("Log in to change your password"))?;
    let body = request.body.json;
    if let Some(password) = &body.new_password {
        auth.passwords.check_new(password)?;
    }
    auth.confirm(&requester, Operation::ChangePassword, &request.json_body).await?;
    let password = body.new_password.ok_or_else(|| MatrixError::missing_param("new_password"))?;
    let hash = auth.passwords.hash(password, auth.entropy.bytes()).await?;
    let log_out = body.logout_devices != Some(false);
    uninterrupted(async move {
        auth.users.accounts.set_password_hash(requester.user, Some(hash)).await?;
        // What a browser was let in with is no password of this account any more.
        auth.end_browsers(requester.user);
        if log_out {
            auth.users.devices.delete_all(requester.user, requester.device_id.as_deref()).await?;
        }
        Ok(Response::new())
    })
    .await
}
