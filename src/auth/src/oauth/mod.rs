//! An authorization server of our own: apps that speak OAuth 2.0 are let in by their users on this server's pages.
//! [OAuth 2.0 API](https://spec.matrix.org/v1.19/client-server-api/#oauth-20-api).
//!
//! An app registers ([`clients`]) and sends a browser here ([`request`]). The browser is logged in, with a password or through a provider
//! ([`login`], [`browser`]), its user is shown who asks and agrees ([`consent`]), and the app exchanges the code that it gets
//! ([`codes`]) for tokens ([`tokens`]) of an ordinary device. Apps without a browser show a code that somebody enters elsewhere
//! ([`device`]). Clients and log-ins are in the store; what is under way lives in memory, bounded.

mod account;
mod account_pages;
mod account_words;
mod browser;
mod client;
mod clients;
mod codes;
mod config;
mod consent;
mod device;
mod device_grants;
mod error;
mod login;
mod metadata;
mod pages;
mod redirect_uri;
mod register;
mod request;
mod scope;
mod tokens;
mod words;

use std::sync::Arc;

use http::StatusCode;
use http_kit::{Clock, MatrixError};
use quick_cache::sync::Cache;
use store::Db;
use users::{UserNum, Users};

pub use self::config::OauthConfig;
pub(crate) use self::{
    account::Action,
    browser::Visitor,
    client::DEVICE_GRANT,
    consent::Decision,
    device_grants::DeviceGrant,
    error::{OauthError, json_answer},
    login::{Credentials, NewcomerForm},
    request::AppRequest,
    tokens::{CodeExchange, REFRESH_PREFIX},
};
use self::{browser::Browsers, clients::Clients, codes::Codes, device_grants::DeviceGrants};
use crate::{
    oidc::{Problem, Sso, Trouble},
    state::Auth,
};

/// Resets that are agreed to at the same time, at most.
const MAX_RESETS: usize = 10_000;

/// All of it, where it is switched on.
#[derive(Debug)]
pub(crate) struct Oauth {
    pub(crate) clients: Clients,
    pub(crate) codes: Codes,
    pub(crate) devices: DeviceGrants,
    pub(crate) browsers: Browsers,
    /// Who agreed that their cross-signing keys are replaced, and until when, in Unix milliseconds.
    resets: Cache<UserNum, u64>,
}

impl Oauth {
    /// None where it is switched off, or where it is not known how browsers reach this server.
    pub(crate) fn new(
        config: &OauthConfig,
        sso: Option<&Sso>,
        db: &Arc<Db>,
        users: &Arc<Users>,
        clock: &Clock,
    ) -> Option<Self> {
        let sso = sso.filter(|_| config.enabled != Some(false))?;
        Some(Self {
            clients: Clients::new(Arc::clone(db), Arc::clone(users), clock.clone(), config),
            codes: Codes::new(config.code_seconds, clock.clone()),
            devices: DeviceGrants::new(config.device_code_seconds, clock.clone()),
            resets: Cache::new(MAX_RESETS),
            browsers: Browsers::new(config.browser_seconds, sso.is_secure(), clock.clone()),
        })
    }
}

impl Auth {
    /// The authorization server. 404 `M_UNRECOGNIZED` where there is none.
    pub(crate) fn oauth(&self) -> Result<(&Sso, &Oauth), MatrixError> {
        let both = self.sso.as_ref().zip(self.oauth.as_ref());
        both.ok_or_else(|| MatrixError::unrecognized("This server has no OAuth 2.0 API"))
    }

    /// The same for a page.
    pub(crate) fn oauth_pages(&self) -> Result<(&Sso, &Oauth), Trouble> {
        self.oauth().map_err(|_| Trouble(StatusCode::NOT_FOUND, Problem::NoSuchProvider))
    }

    /// Logs all browsers of a user out of this server's pages, and takes back what they let apps do that did not happen yet.
    pub(crate) fn end_browsers(&self, user: UserNum) {
        if let Some(oauth) = &self.oauth {
            oauth.browsers.end(user);
            oauth.codes.end(user);
            oauth.devices.end(user);
            oauth.resets.remove(&user);
        }
    }

    /// Removes registrations of apps that nobody uses; to be called now and then.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn expire_clients(&self) -> users::Result<()> {
        match &self.oauth {
            Some(oauth) => oauth.clients.expire().await,
            None => Ok(()),
        }
    }
}
