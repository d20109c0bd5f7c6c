//! `POST /_matrix/client/v3/login`

use std::sync::Arc;

use axum::extract::State;
use http_kit::{MatrixError, Ruma, WithJson};
use ruma::api::client::session::login::v3::{Request, Response};
use serde::Deserialize;

use crate::{credentials::named, error::RouteError, interactive::Identifier, sessions::DeviceWish, state::Auth};

/// ruma's own body type reports no places in the text and panics where there is no `type`.
#[derive(Deserialize)]
pub(super) struct Body {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    identifier: Option<Identifier>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    initial_device_display_name: Option<String>,
    #[serde(default)]
    refresh_token: Option<bool>,
}

pub(super) async fn handler(
    State(auth): State<Arc<Auth>>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<Response, RouteError> {
    let body = request.body.json;
    if body.kind != "m.login.password" || !auth.config.password.enabled {
        return Err(MatrixError::unknown(format!("{} is not among the ways to log in here", body.kind)).into());
    }
    auth.limits.login_from(request.ip)?;
    let name = named(body.identifier.as_ref(), body.user.as_deref())?
        .ok_or_else(|| MatrixError::missing_param("identifier"))?;
    let password = body.password.ok_or_else(|| MatrixError::missing_param("password"))?;
    let account = auth.open_account(name, password).await?;
    let wish = DeviceWish {
        device_id: body.device_id,
        display_name: body.initial_device_display_name,
        refreshable: body.refresh_token == Some(true),
    };
    let (device_id, tokens) = auth.log_in(account.num, wish).await?;
    let mut response = Response::new(account.user_id, tokens.access, device_id);
    response.refresh_token = tokens.refresh;
    response.expires_in = tokens.expires_in;
    Ok(response)
}
