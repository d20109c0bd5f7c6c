//! How people may log in and register; part of the server's configuration.

use std::{fmt, sync::Arc};

use http_kit::LimitConfig;
use serde::Deserialize;

use crate::{
    appservices::Appservices,
    oauth::OauthConfig,
    oidc::{OidcConfig, SsoConfig},
};

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The section `[auth]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Who may create an account.
    pub registration: RegistrationConfig,
    /// Passwords and their hashing.
    pub password: PasswordConfig,
    /// Access tokens.
    pub tokens: TokenConfig,
    /// Confirming who one is before something delicate.
    pub interactive: InteractiveConfig,
    /// How often one may try.
    pub limits: LimitsConfig,
    /// Log-ins through the browser.
    pub sso: SsoConfig,
    /// OpenID Connect providers.
    pub oidc: Vec<OidcConfig>,
    /// The authorization server for apps that speak OAuth 2.0.
    pub oauth: OauthConfig,
    /// Where browsers reach this server. It is set once, for the Client-Server API, and handed on.
    #[serde(skip)]
    pub public_base_url: Option<String>,
    /// The application services, whose files are read before.
    #[serde(skip)]
    pub appservices: Arc<Appservices>,
}

/// The section `[auth.registration]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrationConfig {
    /// Whether people can create accounts themselves. Default no.
    pub enabled: bool,
    /// Whether they can do so without a registration token. Anyone who reaches the server can then create any number of
    /// accounts: for private networks and tests. Default no.
    pub without_verification: bool,
    /// Registration tokens that are good for any number of accounts.
    pub tokens: Vec<Secret>,
    /// Lets tools that know this secret create accounts, administrators too, through Synapse's
    /// `/_synapse/admin/v1/register`. Default: that is off.
    pub shared_secret: Option<Secret>,
    /// User names that nobody can choose for themselves, in lower case: those that others would trust for their name alone.
    pub reserved_names: Vec<String>,
}

/// Names of [`RegistrationConfig::reserved_names`] where none are given: those of RFC 2142 that speak for a whole server, and
/// others that sound official.
const RESERVED_NAMES: &[&str] = &[
    "abuse",
    "admin",
    "administrator",
    "cliquepay",
    "hostmaster",
    "info",
    "moderator",
    "noreply",
    "no-reply",
    "postmaster",
    "root",
    "security",
    "server",
    "staff",
    "support",
    "system",
    "webmaster",
];

impl Default for RegistrationConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            without_verification: false,
            tokens: Vec::new(),
            shared_secret: None,
            reserved_names: RESERVED_NAMES.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

/// The section `[auth.password]`: Argon2id.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordConfig {
    /// Whether people can log in with a password. Default yes.
    pub enabled: bool,
    /// The shortest password, in characters. Default 8.
    pub min_length: usize,
    /// Memory of one hash, in KiB. Default 19456.
    pub memory_kib: u32,
    /// Passes over the memory. Default 2.
    pub iterations: u32,
    /// Lanes of one hash; they run one after the other. Default 1.
    pub parallelism: u32,
    /// Hashes that are computed at the same time. Default 2.
    pub concurrency: usize,
    /// Hashes that may wait for their turn before more are refused. Default 256.
    pub max_waiting: usize,
}

impl Default for PasswordConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            min_length: 8,
            memory_kib: 19 * 1024,
            iterations: 2,
            parallelism: 1,
            concurrency: 2,
            max_waiting: 256,
        }
    }
}

/// The section `[auth.tokens]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// How long an access token lives, in seconds, where the client can refresh it. Others live until they are logged
    /// out. Default one hour.
    pub access_lifetime_seconds: u32,
    /// How many requesters are kept at hand. Default 50000.
    pub cached_requesters: usize,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self { access_lifetime_seconds: 3600, cached_requesters: 50_000 }
    }
}

/// The section `[auth.interactive]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InteractiveConfig {
    /// How long somebody has to confirm who they are, in seconds. Default 15 minutes.
    pub session_seconds: u32,
    /// Confirmations that can be under way at the same time. Default 10000.
    pub max_sessions: usize,
}

impl Default for InteractiveConfig {
    fn default() -> Self {
        Self { session_seconds: 900, max_sessions: 10_000 }
    }
}

/// The section `[auth.limits]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Switches all of them. Default on.
    pub enabled: bool,
    /// Log-ins, right or wrong, from one address. Default one in 5 s, bursts of 20.
    pub login_per_ip: LimitConfig,
    /// Passwords, right or wrong, for one account from all addresses together. Default one in 2 s, bursts of 100: it must not be easy
    /// to keep somebody out.
    pub login_per_user: LimitConfig,
    /// Passwords, right or wrong, for one account from one address. Default one in 20 s, bursts of 10.
    pub login_per_user_and_ip: LimitConfig,
    /// Accounts created, and registration tokens tried, from one address. Default one in 10 s, bursts of 20.
    pub registration_per_ip: LimitConfig,
    /// Pages of a log-in that are opened from one address, and codes that its devices ask for. Default one a second, bursts of 50.
    pub pages_per_ip: LimitConfig,
    /// Apps that register from one address. Default one in 5 s, bursts of 30.
    pub clients_per_ip: LimitConfig,
    /// User names that one address may ask about. Default one a second, bursts of 50: forms ask while people type.
    pub names_per_ip: LimitConfig,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            login_per_ip: LimitConfig::new(0.2, 20),
            login_per_user: LimitConfig::new(0.5, 100),
            login_per_user_and_ip: LimitConfig::new(0.05, 10),
            registration_per_ip: LimitConfig::new(0.1, 20),
            pages_per_ip: LimitConfig::new(1.0, 50),
            clients_per_ip: LimitConfig::new(0.2, 30),
            names_per_ip: LimitConfig::new(1.0, 50),
        }
    }
}
