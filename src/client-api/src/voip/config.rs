use auth::Secret;
use serde::Deserialize;

/// The section `[client_api.turn]`: a relay for calls, such as coturn.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TurnConfig {
    /// Where it is reached: `turn:` and `turns:` URIs.
    pub uris: Vec<String>,
    /// What it shares with this server (coturn's `static-auth-secret`): everybody gets credentials of their own that end.
    pub shared_secret: Option<Secret>,
    /// Credentials that are the same for everybody, where there is no secret.
    pub username: Option<String>,
    /// The password that belongs to them.
    pub password: Option<Secret>,
    /// How long clients may use what they get, in seconds.
    pub lifetime_seconds: u64,
}

impl Default for TurnConfig {
    fn default() -> Self {
        Self { uris: Vec::new(), shared_secret: None, username: None, password: None, lifetime_seconds: 86_400 }
    }
}
