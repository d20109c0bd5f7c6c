//! Tokens of apps. [Refresh token grant](https://spec.matrix.org/v1.19/client-server-api/#refresh-token-grant),
//! [Token revocation](https://spec.matrix.org/v1.19/client-server-api/#token-revocation).
//!
//! A refresh token begins with the name of its log-in's grant. So one that was replaced long ago is still known for what it is without being
//! kept: if the grant stands and the token does not, somebody uses an old one.

use std::sync::Arc;

use http::StatusCode;
use ruma::OwnedDeviceId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use users::{UserNum, UsersError, devices::NewDevice, tokens::NewGrant};

use crate::{
    credentials::usable,
    error::RouteError,
    oauth::{
        Oauth,
        clients::{Clients, Registered},
        codes::CodeError,
        error::OauthError,
        scope::Scope,
    },
    sessions::{FreshTokens, uninterrupted},
    state::Auth,
};

/// By this prefix leaked refresh tokens of apps can be found, and are told from those of the legacy API.
pub(crate) const REFRESH_PREFIX: &str = "cpo_";

/// What is kept with an app's log-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) client: String,
    scope: String,
}

impl Note {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// The name of the grant that a refresh token is of.
fn grant_of(refresh: &str) -> Option<&str> {
    refresh.strip_prefix(REFRESH_PREFIX)?.split_once('.').map(|(grant, _)| grant)
}

/// A code and what must come with it.
#[derive(Debug)]
pub(crate) struct CodeExchange<'a> {
    pub(crate) code: &'a str,
    pub(crate) client: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) verifier: &'a str,
}

impl Auth {
    /// Exchanges a code for tokens.
    pub(crate) async fn exchange_code(
        self: &Arc<Self>,
        oauth: &Oauth,
        given: &CodeExchange<'_>,
    ) -> Result<Value, OauthError> {
        let wrong = || OauthError::invalid_grant("The code is not valid, or it is too old, or it is not this client's");
        let grant = self.entropy.session_id();
        let exchange = oauth.codes.exchange(given.code, given.client, given.redirect_uri, given.verifier, &grant);
        let exchange = match exchange {
            Ok(exchange) => exchange,
            Err(CodeError::Wrong) => return Err(wrong()),
            Err(CodeError::Used(grant)) => {
                tracing::warn!(client = given.client, "a code was used twice: what the first got for it is ended");
                self.end_grant(&grant).await?;
                return Err(wrong());
            }
        };
        let (user, scope) = (exchange.consent().user, exchange.consent().scope.clone());
        let client = self.client(oauth, given.client).await?;
        let answer = self.log_in_app(user, &client, &scope, &grant).await?;
        if exchange.was_tried_again() {
            self.end_grant(&grant).await?;
            return Err(wrong());
        }
        Ok(answer)
    }

    /// A client that is registered.
    pub(crate) async fn client(&self, oauth: &Oauth, id: &str) -> Result<Registered, OauthError> {
        let unknown = || OauthError {
            status: StatusCode::UNAUTHORIZED,
            ..OauthError::new("invalid_client", "This client is not registered, or not any more")
        };
        oauth.clients.find(id).await?.ok_or_else(unknown)
    }

    /// Logs a device in for an app: an ordinary device, with tokens that end soon.
    pub(crate) async fn log_in_app(
        self: &Arc<Self>,
        user: UserNum,
        client: &Registered,
        scope: &Scope,
        grant: &str,
    ) -> Result<Value, OauthError> {
        let (auth, client, scope, grant) = (Arc::clone(self), client.clone(), scope.clone(), grant.to_owned());
        // The client may go away meanwhile; its log-in is then whole all the same.
        let answer = uninterrupted(async move { auth.create_app_device(user, client, scope, grant).await }).await;
        answer.map_err(|error| match error {
            RouteError::Users(UsersError::UserNotFound) => OauthError::invalid_grant("There is no such account"),
            RouteError::Matrix(error) if matches!(&*error.errcode, "M_USER_DEACTIVATED" | "M_USER_LOCKED") => {
                OauthError::invalid_grant(error.error)
            }
            error => error.into(),
        })
    }

    async fn create_app_device(
        &self,
        user: UserNum,
        client: Registered,
        scope: Scope,
        grant: String,
    ) -> Result<Value, RouteError> {
        let oauth = self.oauth.as_ref().ok_or(UsersError::UserNotFound)?;
        let _held = oauth.clients.hold().await;
        usable(self.users.accounts.get(user).await?.ok_or(UsersError::UserNotFound)?)?;
        let known = match self.users.devices.get(user, &scope.device_id).await {
            Ok(_) => true,
            Err(UsersError::DeviceNotFound) => false,
            Err(error) => return Err(error.into()),
        };
        let tokens = self.app_tokens(&grant);
        let device = NewDevice {
            device_id: scope.device_id.clone(),
            // Whoever logs a device in anew may have named it.
            display_name: (!known).then(|| client.client.name("en")),
            tokens: tokens.as_new(),
        };
        let note = Note { client: client.id.clone(), scope: scope.text.clone() };
        let note = serde_json::to_string(&note).map_err(http_kit::MatrixError::internal)?;
        let also = vec![Clients::session(&client.id, user, &scope.device_id)];
        let grant = NewGrant { id: &grant, note: &note };
        self.users.devices.create_granted(user, &device, &grant, also).await?;
        Ok(answer(tokens, &scope.text))
    }

    fn app_tokens(&self, grant: &str) -> FreshTokens {
        let seconds = self.config.oauth.access_lifetime_seconds;
        self.tokens_for(seconds, format!("{REFRESH_PREFIX}{grant}.{}", self.entropy.token("")))
    }

    /// Exchanges a refresh token. The one before may be used again until the new one was; who uses an older one ends the log-in.
    pub(crate) async fn refresh_app(self: &Arc<Self>, refresh: &str, client: &str) -> Result<Value, OauthError> {
        let wrong = || OauthError::invalid_grant("The refresh token is not valid, or it is not this client's");
        let name = grant_of(refresh).ok_or_else(wrong)?;
        let grant = self.users.tokens.grant(name).await?.ok_or_else(wrong)?;
        let note = Note::parse(&grant.note).filter(|note| note.client == client).ok_or_else(wrong)?;
        let tokens = self.app_tokens(name);
        match self.users.tokens.refresh(refresh, &tokens.as_new()).await {
            Ok(_) => Ok(answer(tokens, &note.scope)),
            Err(UsersError::UnknownToken) => {
                tracing::warn!(client, device = %grant.device_id, "an old refresh token was used: its log-in is ended");
                self.end_grant(name).await?;
                Err(wrong())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the log-in that an access or refresh token is of, whosever it is: who has a token may give it up.
    pub(crate) async fn revoke_app(self: &Arc<Self>, token: &str) -> Result<(), OauthError> {
        if let Some((user, device)) = self.users.tokens.owner(token).await? {
            return self.end_device(user, device).await;
        }
        match grant_of(token) {
            // A refresh token that was replaced: its log-in is still the one that is meant.
            Some(name) => self.end_grant(name).await,
            None => Ok(()),
        }
    }

    async fn end_grant(self: &Arc<Self>, name: &str) -> Result<(), OauthError> {
        match self.users.tokens.grant(name).await? {
            Some(grant) => self.end_device(grant.user, grant.device_id).await,
            None => Ok(()),
        }
    }

    /// Logs a device out.
    pub(crate) async fn end_device(self: &Arc<Self>, user: UserNum, device: OwnedDeviceId) -> Result<(), OauthError> {
        self.users.devices.delete(user, &[device]).await?;
        Ok(self.after_logout(user).await?)
    }
}

fn answer(tokens: FreshTokens, scope: &str) -> Value {
    json!({
        "access_token": tokens.access,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in.map(|time| time.as_secs()),
        "refresh_token": tokens.refresh,
        "scope": scope,
    })
}
