//! Logging in through OpenID Connect providers, Amazon Cognito among them.
//!
//! A client sends a browser to [`begin`](login); the browser goes to the provider and comes back with a code, which is exchanged for
//! an ID token that must be right in every way ([`token`]). Issuer and subject decide whose account it is ([`identities`]); who has none
//! names one on a page. Then the browser is sent to the client with a login token. What the provider gave to ask again with is
//! kept, and tried now and then ([`recheck`]).

mod config;
mod confirm;
mod flows;
mod http;
mod id_token_login;
mod identities;
mod login;
mod logout;
mod newcomer;
mod pages;
mod provider;
mod recheck;
mod redirect;
mod seal;
mod token;
mod words;

use std::sync::Arc;

use http_kit::Clock;
use store::Db;
use url::Url;

use self::{
    config::{Checked, check_all},
    flows::Flows,
    identities::Identities,
    provider::Provider,
    redirect::Allowed,
    seal::Sealer,
};
pub use self::{
    config::{ClientAuth, OidcConfig, OidcConfigError, ProviderKind, SsoConfig},
    http::{MAX_ANSWER, UpstreamError, UpstreamHttp, WebClient},
    seal::SEAL_KEY_LENGTH,
};
pub(crate) use self::{
    flows::{FlowError, Goal, Purpose, Step, Waiting, cookie_of},
    id_token_login::ID_TOKEN_LOGIN,
    login::{Answer, Trouble, Wish, add_cookies, go, next_url, same, sso},
    newcomer::Filled,
    pages::{Pages, escape, guard, hidden},
    redirect::Target,
    words::{Language, Problem},
};
use crate::config::AuthConfig;

/// What log-ins through providers need from outside.
#[derive(Clone)]
pub struct UpstreamParts {
    /// How providers are reached.
    pub http: Arc<dyn UpstreamHttp>,
    /// The key that encrypts providers' refresh tokens. With another key those that are kept are lost, and their sessions end.
    pub seal_key: [u8; SEAL_KEY_LENGTH],
}

impl std::fmt::Debug for UpstreamParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UpstreamParts")
    }
}

/// All of it, where there are providers or an authorization server of our own.
#[derive(Debug)]
pub(crate) struct Sso {
    pub(crate) providers: Vec<Provider>,
    pub(crate) flows: Flows,
    identities: Identities,
    pub(crate) allowed: Vec<Allowed>,
    /// Where browsers reach this server, without a slash at its end.
    base: String,
    /// None without providers: there is nothing to encrypt.
    sealer: Option<Sealer>,
    /// How long a login token is good for, in milliseconds.
    pub(crate) token_ms: u64,
}

impl Sso {
    /// None without providers and without an authorization server.
    pub(crate) fn new(
        config: &AuthConfig,
        parts: Option<UpstreamParts>,
        db: Arc<Db>,
        clock: &Clock,
    ) -> Result<Option<Self>, OidcConfigError> {
        let Checked { providers: settled, base, mut allowed } =
            check_all(&config.sso, &config.oidc, config.oauth.enabled, config.public_base_url.as_deref())?;
        let Some(base) = base else { return Ok(None) };
        allowed.push(Allowed::own(&base));
        let (mut providers, mut sealer) = (Vec::new(), None);
        if !settled.is_empty() {
            let none = |what: &str| OidcConfigError::All(format!("auth.oidc: there is no {what} for it"));
            let parts = parts.ok_or_else(|| none("network"))?;
            sealer = Some(Sealer::new(&parts.seal_key).ok_or_else(|| none("cipher"))?);
            let provider = |settled| Provider::new(settled, Arc::clone(&parts.http), clock.clone());
            providers = settled.into_iter().map(provider).collect();
        }
        Ok(Some(Self {
            providers,
            flows: Flows::new(&config.sso, base.scheme() == "https", clock.clone()),
            identities: Identities::new(db),
            allowed,
            base: trimmed(&base),
            sealer,
            token_ms: u64::from(config.sso.token_seconds) * 1000,
        }))
    }

    /// Whether this server is reached by HTTPS.
    pub(crate) fn is_secure(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// What this server is called where it lets apps in.
    pub(crate) fn issuer(&self) -> String {
        self.url("/")
    }

    pub(crate) fn find(&self, id: &str) -> Option<(usize, &Provider)> {
        self.providers.iter().enumerate().find(|(_, provider)| provider.settled.id == id)
    }

    fn of_issuer(&self, issuer: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.settled.issuer == issuer)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

fn trimmed(base: &Url) -> String {
    base.as_str().trim_end_matches('/').to_owned()
}
