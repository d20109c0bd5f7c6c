//! `POST /_matrix/client/v3/login`

use std::sync::Arc;

use axum::extract::State;
use http_kit::{MatrixError, Ruma, WithJson};
use ruma::api::client::session::login::v3::{Request, Response};
use serde::Deserialize;
use users::{UsersError, accounts::Account};

use crate::{
    credentials::named, error::RouteError, interactive::Identifier, oidc::ID_TOKEN_LOGIN, sessions::DeviceWish,
    state::Auth,
};

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
    token: Option<String>,
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
    if !auth.takes(&body.kind) {
        return Err(MatrixError::unknown(format!("{} is not among the ways to log in here", body.kind)).into());
    }
    auth.limits.login_from(request.ip)?;
    let account = if body.kind == "m.login.password" {
        let name = named(body.identifier.as_ref(), body.user.as_deref())?
            .ok_or_else(|| MatrixError::missing_param("identifier"))?;
        let password = body.password.ok_or_else(|| MatrixError::missing_param("password"))?;
        auth.open_account(name, password).await?
    } else {
        let token = body.token.ok_or_else(|| MatrixError::missing_param("token"))?;
        if body.kind == ID_TOKEN_LOGIN {
            auth.open_by_id_token(&token).await?
        } else {
            auth.open_by_login_token(&token).await?
        }
    };
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

impl Auth {
    fn takes(&self, kind: &str) -> bool {
        match kind {
            "m.login.password" => self.config.password.enabled,
            "m.login.token" => true,
            ID_TOKEN_LOGIN => self.takes_id_tokens(),
            _ => false,
        }
    }

    /// The account that a login token opens; the token is used up.
    async fn open_by_login_token(&self, token: &str) -> Result<Account, RouteError> {
        let wrong = || MatrixError::forbidden("This login token is not valid, or it was used, or it is too old");
        let user = match self.users.tokens.use_login(token).await {
            Err(UsersError::UnknownToken | UsersError::ExpiredToken) => return Err(wrong().into()),
            user => user?,
        };
        match self.users.accounts.get(user).await?.ok_or_else(wrong)? {
            account if account.deactivated => Err(MatrixError::user_deactivated("This account was closed").into()),
            account => Ok(account),
        }
    }
}
