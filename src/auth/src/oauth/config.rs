//! The section `[auth.oauth]` of the configuration.

use serde::Deserialize;

/// The section `[auth.oauth]`: the authorization server for apps that speak OAuth 2.0.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OauthConfig {
    /// Whether it is there. Unset: where `client_api.public_base_url` is set to an address that begins with `https://` or is on this
    /// machine.
    pub enabled: Option<bool>,
    /// How long an access token lives, in seconds. Default 5 minutes.
    pub access_lifetime_seconds: u32,
    /// How long an app has to exchange a code, in seconds. Default 1 minute.
    pub code_seconds: u32,
    /// How long somebody has to enter the code that a device shows, in seconds. Default 15 minutes.
    pub device_code_seconds: u32,
    /// How long a browser stays logged in on this server's own pages, in seconds. Default 30 minutes.
    pub browser_seconds: u32,
    /// Apps that can be registered at the same time. Default 10000.
    pub max_clients: usize,
    /// How long a registration is kept that nobody is logged in by, in hours. Default one day.
    pub unused_client_hours: u32,
}

impl Default for OauthConfig {
    fn default() -> Self {
        Self {
            enabled: None,
            access_lifetime_seconds: 300,
            code_seconds: 60,
            device_code_seconds: 900,
            browser_seconds: 1800,
            max_clients: 10_000,
            unused_client_hours: 24,
        }
    }
}

impl OauthConfig {
    /// The name of an option that must be above zero and is not.
    pub(crate) fn zero(&self) -> Option<&'static str> {
        let options = [
            ("auth.oauth.access_lifetime_seconds", self.access_lifetime_seconds as usize),
            ("auth.oauth.code_seconds", self.code_seconds as usize),
            ("auth.oauth.device_code_seconds", self.device_code_seconds as usize),
            ("auth.oauth.browser_seconds", self.browser_seconds as usize),
            ("auth.oauth.max_clients", self.max_clients),
            ("auth.oauth.unused_client_hours", self.unused_client_hours as usize),
        ];
        options.into_iter().find(|(_, value)| *value == 0).map(|(name, _)| name)
    }
}
