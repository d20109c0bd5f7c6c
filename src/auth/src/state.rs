//! What every part of this crate holds.

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc};

use http_kit::{Clock, LimitConfig, LimitKey, MatrixError, RateLimiter};
use rand::CryptoRng;
use ruma::{OwnedServerName, UserId};
use store::Db;
use users::{UserNum, Users};

use crate::{
    appservices::{Appservices, ServiceUsers},
    authenticator::Requesters,
    config::{AuthConfig, LimitsConfig},
    entropy::Entropy,
    error::AuthConfigError,
    interactive::Sessions,
    nonces::Nonces,
    oauth::Oauth,
    oidc::{Sso, UpstreamParts},
    password::Passwords,
    registration_tokens::RegistrationTokens,
};

/// Addresses and names that a rate limiter remembers.
const LIMITED_KEYS: usize = 50_000;

/// What the methods of [`AccountHook`] return.
pub type HookFuture<'a> =
    Pin<Box<dyn Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send + 'a>>;

/// What the rest of the server does when an account is changed here.
pub trait AccountHook: Send + Sync + 'static {
    /// Leaves the rooms, clears the profile, drops the pushers. Called before the account is closed. It must be safe to repeat: if it
    /// fails, the account stays open, so that the user can try again. With `erase` the user wants their data gone, too.
    fn deactivate<'a>(&'a self, user: UserNum, user_id: &'a UserId, erase: bool) -> HookFuture<'a>;

    /// Sets the display name, everywhere where it stands. An empty one takes it away.
    fn set_display_name<'a>(&'a self, user: UserNum, user_id: &'a UserId, name: &'a str) -> HookFuture<'a>;
}

/// What an [`Auth`] is made of.
pub struct AuthParts<R> {
    /// The local users.
    pub users: Arc<Users>,
    /// The database, for registration tokens.
    pub db: Arc<Db>,
    /// The clock.
    pub clock: Arc<dyn store::Clock>,
    /// A cryptographically secure generator.
    pub rng: R,
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// The section `[auth]` of the configuration.
    pub config: AuthConfig,
    /// What happens when an account is changed.
    pub hook: Arc<dyn AccountHook>,
    /// What log-ins through providers need; they are refused at start without it.
    pub upstream: Option<UpstreamParts>,
}

/// The ways to log in.
pub struct Auth {
    pub(crate) users: Arc<Users>,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) server_name: OwnedServerName,
    pub(crate) config: AuthConfig,
    pub(crate) hook: Arc<dyn AccountHook>,
    pub(crate) passwords: Passwords,
    pub(crate) sessions: Sessions,
    pub(crate) nonces: Nonces,
    pub(crate) requesters: Requesters,
    pub(crate) service_users: ServiceUsers,
    pub(crate) limits: Limits,
    pub(crate) sso: Option<Sso>,
    pub(crate) oauth: Option<Oauth>,
    /// The application services.
    pub appservices: Arc<Appservices>,
    /// The tokens that let people register.
    pub registration_tokens: RegistrationTokens,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Auth {
    /// The ways to log in that the configuration allows.
    ///
    /// # Errors
    /// Where the configuration cannot work.
    pub fn new<R: CryptoRng + Send + 'static>(parts: AuthParts<R>) -> Result<Arc<Self>, AuthConfigError> {
        let AuthParts { users, db, clock, rng, server_name, config, hook, upstream } = parts;
        check(&config)?;
        let clock = Clock::new(move || clock.now_ms());
        let sso = Sso::new(&config, upstream, Arc::clone(&db), &clock)?;
        let oauth = Oauth::new(&config.oauth, sso.as_ref(), &db, &users, &clock);
        let registration_tokens = RegistrationTokens::new(db, clock.clone(), &config.registration.tokens);
        Ok(Arc::new(Self {
            users,
            entropy: Entropy::new(rng),
            server_name,
            hook,
            passwords: Passwords::new(&config.password).map_err(AuthConfigError::Password)?,
            sessions: Sessions::new(&config.interactive, clock.clone()),
            nonces: Nonces::new(clock.clone()),
            requesters: Requesters::new(config.tokens.cached_requesters),
            service_users: ServiceUsers::default(),
            appservices: Arc::clone(&config.appservices),
            limits: Limits::new(&config.limits, &clock),
            registration_tokens,
            sso,
            oauth,
            clock,
            config,
        }))
    }

    /// Gives or takes the right to use the admin API, for requests from now on.
    ///
    /// # Errors
    /// [`users::UsersError::UserNotFound`] and those of the store.
    pub async fn set_admin(&self, user: UserNum, admin: bool) -> users::Result<()> {
        self.users.accounts.set_admin(user, admin).await?;
        self.requesters.clear();
        Ok(())
    }

    /// Locks an account, or unlocks it: for requests from now on. What is logged in stays so, and is of no use meanwhile.
    ///
    /// # Errors
    /// [`users::UsersError::UserNotFound`] and those of the store.
    pub async fn set_locked(&self, user: UserNum, locked: bool) -> users::Result<()> {
        self.users.accounts.set_locked(user, locked).await?;
        self.look_anew();
        if locked {
            self.end_browsers(user);
        }
        Ok(())
    }

    /// Suspends an account, or ends that: for requests from now on.
    ///
    /// # Errors
    /// [`users::UsersError::UserNotFound`] and those of the store.
    pub async fn set_suspended(&self, user: UserNum, suspended: bool) -> users::Result<()> {
        self.users.accounts.set_suspended(user, suspended).await?;
        self.look_anew();
        Ok(())
    }

    /// Has accounts read anew with the next request of each session.
    fn look_anew(&self) {
        self.requesters.clear();
        self.service_users.clear();
    }
}

fn check(config: &AuthConfig) -> Result<(), AuthConfigError> {
    for (name, value) in [
        ("auth.interactive.session_seconds", config.interactive.session_seconds),
        ("auth.tokens.access_lifetime_seconds", config.tokens.access_lifetime_seconds),
    ] {
        if value == 0 {
            return Err(AuthConfigError::Zero(name));
        }
    }
    if let Some(name) = config.oauth.zero() {
        return Err(AuthConfigError::Zero(name));
    }
    if config.registration.tokens.iter().any(|token| token.reveal().is_empty()) {
        return Err(AuthConfigError::Empty("auth.registration.tokens"));
    }
    if config.registration.shared_secret.as_ref().is_some_and(|secret| secret.reveal().is_empty()) {
        return Err(AuthConfigError::Empty("auth.registration.shared_secret"));
    }
    Ok(())
}

/// The rate limits of this crate's endpoints.
#[derive(Debug)]
pub(crate) struct Limits {
    login_per_ip: RateLimiter,
    login_per_user: RateLimiter,
    login_per_user_and_ip: RateLimiter,
    registration_per_ip: RateLimiter,
    pages_per_ip: RateLimiter,
    clients_per_ip: RateLimiter,
    names_per_ip: RateLimiter,
}

impl Limits {
    fn new(config: &LimitsConfig, clock: &Clock) -> Self {
        let limiter = |limit: &LimitConfig| {
            let limit = LimitConfig { enabled: limit.enabled && config.enabled, ..*limit };
            RateLimiter::new(&limit, LIMITED_KEYS, clock.clone())
        };
        Self {
            login_per_ip: limiter(&config.login_per_ip),
            login_per_user: limiter(&config.login_per_user),
            login_per_user_and_ip: limiter(&config.login_per_user_and_ip),
            registration_per_ip: limiter(&config.registration_per_ip),
            pages_per_ip: limiter(&config.pages_per_ip),
            clients_per_ip: limiter(&config.clients_per_ip),
            names_per_ip: limiter(&config.names_per_ip),
        }
    }

    pub(crate) fn login_from(&self, ip: Option<IpAddr>) -> Result<(), MatrixError> {
        ip.map_or(Ok(()), |ip| self.login_per_ip.check(LimitKey::ip(ip)))
    }

    /// Somebody tries a password for an account.
    pub(crate) fn login_as(&self, localpart: &str, ip: Option<IpAddr>) -> Result<(), MatrixError> {
        let name = localpart.to_lowercase();
        if let Some(LimitKey::Ip(ip)) = ip.map(LimitKey::ip) {
            self.login_per_user_and_ip.check(LimitKey::name(&format!("{ip}/{name}")))?;
        }
        self.login_per_user.check(LimitKey::name(&name))
    }

    /// Somebody who is logged in tries their own password. No stranger can use that up.
    pub(crate) fn confirms(&self, localpart: &str) -> Result<(), MatrixError> {
        self.login_per_user_and_ip.check(LimitKey::name(&format!("/{localpart}")))
    }

    pub(crate) fn registration_from(&self, ip: Option<IpAddr>) -> Result<(), MatrixError> {
        ip.map_or(Ok(()), |ip| self.registration_per_ip.check(LimitKey::ip(ip)))
    }

    pub(crate) fn page_from(&self, ip: Option<IpAddr>) -> Result<(), MatrixError> {
        ip.map_or(Ok(()), |ip| self.pages_per_ip.check(LimitKey::ip(ip)))
    }

    pub(crate) fn client_from(&self, ip: Option<IpAddr>) -> Result<(), MatrixError> {
        ip.map_or(Ok(()), |ip| self.clients_per_ip.check(LimitKey::ip(ip)))
    }

    pub(crate) fn registration_available(&self, ip: Option<IpAddr>) -> Result<(), MatrixError> {
        ip.map_or(Ok(()), |ip| self.names_per_ip.check(LimitKey::ip(ip)))
    }
}
