//! `POST /_matrix/client/v3/register`

use std::{net::IpAddr, sync::Arc};

use axum::extract::State;
use http_kit::{MatrixError, RawJson, Requester, Ruma, WithJson};
use ruma::api::client::account::register::v3::{Request, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use users::{
    UsersError,
    accounts::{AccountKind, Grammar, NewAccount},
    devices::NewDevice,
};

use crate::{
    appservices::{SERVICE_LOGIN, no_service_login},
    credentials::registration_error,
    error::RouteError,
    interactive::{AuthDict, Binding, Flow, Progress, Stage, Ways},
    operation::Operation,
    sessions::{DeviceWish, uninterrupted},
    state::Auth,
};

const OPEN: &[Flow] = &[&[Stage::Dummy]];
const BY_TOKEN: &[Flow] = &[&[Stage::RegistrationToken]];
const OPEN_OR_BY_TOKEN: &[Flow] = &[&[Stage::Dummy], &[Stage::RegistrationToken]];

#[derive(Deserialize)]
pub(super) struct Body {
    #[serde(default)]
    auth: Option<AuthDict>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    initial_device_display_name: Option<String>,
    #[serde(default)]
    inhibit_login: Option<bool>,
    #[serde(default)]
    refresh_token: Option<bool>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
}

pub(super) async fn handler(
    State(auth): State<Arc<Auth>>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<RawJson, RouteError> {
    check_kind(request.query("kind").as_deref())?;
    let mut body = request.body.json;
    if body.kind.as_deref() == Some(SERVICE_LOGIN) {
        let requester = request.requester.required()?;
        return uninterrupted(async move { auth.register_for_service(&requester, body).await }).await.map(shown);
    }
    if let Some(kind) = body.kind {
        return Err(MatrixError::unknown(format!("{kind} is not among the ways to register here")).into());
    }
    let flows = auth.registration_flows()?;
    // Names and passwords are checked first: nobody should find out at the end that theirs will not do.
    let localpart = auth.free_localpart(body.username.as_deref(), request.ip).await?;
    if let Some(password) = &body.password {
        auth.passwords.check_new(password)?;
    }
    if body.auth.is_some() {
        auth.limits.registration_from(request.ip)?;
    }
    let ways = Ways { flows: flows.to_vec(), page: None };
    let progress = auth.interact(body.auth.take(), Binding::of_stranger(Operation::Register), &ways, None).await?;
    let password = body.password.take().ok_or_else(|| MatrixError::missing_param("password"))?;

    let password_hash = auth.passwords.hash(password, auth.entropy.bytes()).await?;
    let new = NewAccount { password_hash: Some(password_hash), ..NewAccount::user(localpart) };
    let (wish, inhibit_login) = (body.wish(), body.inhibit_login == Some(true));
    uninterrupted(async move { auth.create(new, progress, wish, inhibit_login).await }).await.map(shown)
}

/// The answer without what there is none of: ruma says `null` where nobody was logged in.
fn shown(made: Response) -> RawJson {
    let mut fields = Map::from_iter([("user_id".to_owned(), made.user_id.to_string().into())]);
    let texts = [("access_token", made.access_token), ("refresh_token", made.refresh_token)];
    let device = ("device_id", made.device_id.map(String::from));
    fields.extend(texts.into_iter().chain([device]).filter_map(|(name, text)| Some((name.to_owned(), text?.into()))));
    if let Some(lifetime) = made.expires_in {
        let ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        fields.insert("expires_in_ms".to_owned(), ms.into());
    }
    RawJson(Value::Object(fields).to_string().into())
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

fn check_kind(kind: Option<&str>) -> Result<(), MatrixError> {
    match kind {
        None | Some("user") => Ok(()),
        Some("guest") => Err(MatrixError::guest_forbidden("This server has no guests: register an account")),
        Some(_) => Err(MatrixError::invalid_param("kind", "it is neither user nor guest")),
    }
}

impl Auth {
    /// The ways to show that one may register. 403 `M_FORBIDDEN` if nobody may.
    pub(crate) fn registration_flows(&self) -> Result<&'static [Flow], MatrixError> {
        let config = &self.config.registration;
        if !config.enabled {
            return Err(MatrixError::forbidden("This server takes no registrations: ask its operator for an account"));
        }
        Ok(match (config.without_verification, config.tokens.is_empty()) {
            (true, true) => OPEN,
            (true, false) => OPEN_OR_BY_TOKEN,
            (false, _) => BY_TOKEN,
        })
    }

    /// The localpart of the new account: what was asked for, in lower case, if it is free.
    async fn free_localpart(&self, username: Option<&str>, ip: Option<IpAddr>) -> Result<String, RouteError> {
        let Some(username) = username.filter(|name| !name.is_empty()) else {
            let localpart = self.entropy.localpart();
            self.check_not_owned(&localpart)?;
            return Ok(localpart);
        };
        self.limits.registration_available(ip)?;
        let localpart = username.to_ascii_lowercase();
        self.check_free(&localpart).await?;
        Ok(localpart)
    }

    /// Whether somebody could choose this localpart now: it follows the grammar, is free, and not reserved.
    pub(crate) async fn check_free(&self, localpart: &str) -> Result<(), RouteError> {
        if self.is_reserved(localpart) {
            return Err(UsersError::InvalidLocalpart("it is reserved").into());
        }
        self.check_not_owned(localpart)?;
        match self.users.accounts.is_available(localpart, Grammar::Strict).await? {
            true => Ok(()),
            false => Err(UsersError::UserInUse.into()),
        }
    }

    /// 400 `M_EXCLUSIVE` for a localpart that an application service has for itself.
    pub(crate) fn check_not_owned(&self, localpart: &str) -> Result<(), RouteError> {
        if self.appservices.is_empty() {
            return Ok(());
        }
        let user_id = self.users.accounts.user_id(localpart, Grammar::Historical)?;
        match self.appservices.owner_of_user(&user_id, None) {
            Some(_) => Err(MatrixError::exclusive("This user name belongs to an application service").into()),
            None => Ok(()),
        }
    }

    /// Registers a user of an application service, without a password and without stages.
    /// [Server admin style permissions](https://spec.matrix.org/v1.19/application-service-api/#server-admin-style-permissions).
    async fn register_for_service(&self, requester: &Requester, mut body: Body) -> Result<Response, RouteError> {
        let service = self.service_of(requester)?;
        let inhibit_login = body.inhibit_login == Some(true);
        if !inhibit_login && !self.offers_login() {
            return Err(no_service_login().into());
        }
        let localpart = body.username.take().filter(|name| !name.is_empty());
        let localpart = localpart.ok_or_else(|| MatrixError::missing_param("username"))?;
        let user_id = self.users.accounts.user_id(&localpart, Grammar::Historical)?;
        if !service.acts_as(&user_id) {
            return Err(MatrixError::exclusive(format!("{user_id} is not in your namespaces")).into());
        }
        if self.appservices.owner_of_user(&user_id, Some(&service.id)).is_some() {
            return Err(MatrixError::exclusive(format!("{user_id} belongs to another application service")).into());
        }
        let kind = AccountKind::AppService;
        let new = NewAccount { grammar: Grammar::Historical, kind, ..NewAccount::user(localpart) };
        self.create_account(new, body.wish(), inhibit_login).await
    }

    pub(crate) fn is_reserved(&self, localpart: &str) -> bool {
        self.config.registration.reserved_names.iter().any(|name| name.eq_ignore_ascii_case(localpart))
    }

    pub(crate) async fn create(
        &self,
        new: NewAccount,
        progress: Progress,
        wish: DeviceWish,
        inhibit_login: bool,
    ) -> Result<Response, RouteError> {
        if let Some(token) = &progress.token {
            self.registration_tokens.consume(token).await.map_err(registration_error)?;
        }
        match self.create_account(new, wish, inhibit_login).await {
            Ok(response) => Ok(response),
            Err(error) => {
                if let Some(token) = &progress.token {
                    self.registration_tokens.give_back(token).await.map_err(registration_error)?;
                }
                Err(error)
            }
        }
    }

    /// Creates an account and, unless `inhibit_login`, its first device, in one commit.
    pub(super) async fn create_account(
        &self,
        new: NewAccount,
        wish: DeviceWish,
        inhibit_login: bool,
    ) -> Result<Response, RouteError> {
        if inhibit_login {
            return Ok(Response::new(self.users.register(new, None).await?.user_id));
        }
        let tokens = self.fresh_tokens(wish.refreshable);
        let device_id = wish.id(self);
        let device =
            NewDevice { device_id: device_id.clone(), display_name: wish.display_name, tokens: tokens.as_new() };
        let account = self.users.register(new, Some(&device)).await?;
        let mut response = Response::new(account.user_id);
        response.device_id = Some(device_id);
        response.access_token = Some(tokens.access);
        response.refresh_token = tokens.refresh;
        response.expires_in = tokens.expires_in;
        Ok(response)
    }
}
