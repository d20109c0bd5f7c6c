//! `POST /_matrix/client/v3/login`

use std::sync::Arc;

use axum::extract::State;
use http_kit::{MatrixError, Requester, Ruma, ServiceToken, WithJson};
use ruma::api::client::session::login::v3::{Request, Response};
use serde::Deserialize;
use users::{
    UsersError,
    accounts::{Account, Grammar},
};

use crate::{
    appservices::{Registration, SERVICE_LOGIN, no_service_login},
    credentials::{named, usable},
    error::RouteError,
    interactive::Identifier,
    oidc::ID_TOKEN_LOGIN,
    sessions::DeviceWish,
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
    let mut body = request.body.json;
    if body.kind == SERVICE_LOGIN {
        return auth.log_in_for_service(request.requester, body).await;
    }
    if !auth.takes(&body.kind) {
        return Err(MatrixError::unknown(format!("{} is not among the ways to log in here", body.kind)).into());
    }
    auth.limits.login_from(request.ip)?;
    let account = if body.kind == "m.login.password" {
        let name = named(body.identifier.as_ref(), body.user.as_deref())?
            .ok_or_else(|| MatrixError::missing_param("identifier"))?;
        let password = body.password.take().ok_or_else(|| MatrixError::missing_param("password"))?;
        auth.open_account(name, password, request.ip).await?
    } else {
        let token = body.token.take().ok_or_else(|| MatrixError::missing_param("token"))?;
        if body.kind == ID_TOKEN_LOGIN {
            auth.open_by_id_token(&token).await?
        } else {
            auth.open_by_login_token(&token).await?
        }
    };
    let wish = body.wish();
    auth.log_account_in(account, wish).await
}

impl Body {
    fn wish(&mut self) -> DeviceWish {
        DeviceWish {
            device_id: self.device_id.take(),
            display_name: self.initial_device_display_name.take(),
            refreshable: self.refresh_token == Some(true),
        }
    }
}

impl Auth {
    async fn log_account_in(&self, account: Account, wish: DeviceWish) -> Result<Response, RouteError> {
        let (device_id, tokens) = self.log_in(account.num, wish).await?;
        let mut response = Response::new(account.user_id, tokens.access, device_id);
        response.refresh_token = tokens.refresh;
        response.expires_in = tokens.expires_in;
        Ok(response)
    }

    /// Logs a user of an application service in, who needs no password.
    /// [Server admin style permissions](https://spec.matrix.org/v1.19/application-service-api/#server-admin-style-permissions).
    async fn log_in_for_service(&self, token: ServiceToken, mut body: Body) -> Result<Response, RouteError> {
        let requester = token.required()?;
        let service = self.service_of(&requester)?;
        if !self.offers_login() {
            return Err(no_service_login().into());
        }
        let name = named(body.identifier.as_ref(), body.user.as_deref())?
            .ok_or_else(|| MatrixError::missing_param("identifier"))?;
        let strange = || MatrixError::exclusive(format!("{name} is no user of this application service"));
        let localpart = self.localpart_of(name).ok_or_else(strange)?;
        let user_id = self.users.accounts.user_id(localpart, Grammar::Historical)?;
        if !service.acts_as(&user_id) {
            return Err(strange().into());
        }
        match self.users.accounts.by_user_id(&user_id).await? {
            Some(account) => self.log_account_in(usable(account)?, body.wish()).await,
            None => Err(MatrixError::forbidden(format!("{user_id} is not registered: register it first")).into()),
        }
    }

    /// Whether there is any way to log in through the endpoints of old, without OAuth.
    pub(crate) fn offers_login(&self) -> bool {
        self.config.password.enabled || self.sso.is_some() || self.takes_id_tokens()
    }

    /// The service that a requester belongs to.
    pub(crate) fn service_of(&self, requester: &Requester) -> Result<&Registration, MatrixError> {
        let service = requester.appservice.as_ref().and_then(|service| self.appservices.by_id(&service.id));
        service.map(|service| &**service).ok_or_else(|| MatrixError::unknown_token(false))
    }

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
        Ok(usable(self.users.accounts.get(user).await?.ok_or_else(wrong)?)?)
    }
}
