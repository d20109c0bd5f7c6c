//! The configuration: a TOML file, overridden by the environment. `config.toml.example` explains every option, and a test
//! makes sure that it knows them all.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use auth::{AuthConfig, appservices::AppservicesConfig};
use client_api::ClientApiConfig;
use federation::FederationConfig;
use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use http_kit::RateConfig;
use media::MediaConfig;
use notify::PushConfig;
use ruma::OwnedServerName;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::error::StartError;

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name behind the colon of user ids. It can never change.
    pub server_name: OwnedServerName,
    /// Where everything is kept.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Addresses for plain HTTP.
    #[serde(default = "default_listen")]
    pub listen: Vec<SocketAddr>,
    /// Addresses for HTTPS.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// What is logged: `info`, or a list such as `info,engine=debug`.
    #[serde(default = "default_log")]
    pub log: String,
    /// Whether it is logged as JSON.
    #[serde(default)]
    pub log_json: bool,
    /// What users and other servers may do in a time; `false` for no limits at all, where nobody but friends and tests can reach the
    /// server.
    #[serde(default, deserialize_with = "rate_limits")]
    pub rate_limits: RateConfig,
    /// Threads that answer requests; 0: one for each core.
    #[serde(default)]
    pub worker_threads: usize,
    /// Prometheus metrics at `/metrics` on an address of their own.
    #[serde(default)]
    pub metrics_listen: Option<SocketAddr>,
    /// The embedded store.
    #[serde(default)]
    pub store: StoreConfig,
    /// Ways to log in.
    #[serde(default)]
    pub auth: AuthConfig,
    /// Bridges and bots.
    #[serde(default)]
    pub appservices: AppservicesConfig,
    /// The Client-Server API.
    #[serde(default)]
    pub client_api: ClientApiConfig,
    /// Other servers.
    #[serde(default)]
    pub federation: FederationConfig,
    /// Files.
    #[serde(default)]
    pub media: MediaConfig,
    /// Push notifications.
    #[serde(default)]
    pub push: PushConfig,
    /// Looking for what was said.
    #[serde(default)]
    pub search: SearchConfig,
}

/// `[tls]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Addresses for HTTPS.
    pub listen: Vec<SocketAddr>,
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Whether a write is on stable storage before it is acknowledged.
    pub sync: bool,
    /// The block cache, in MiB.
    pub cache_mib: usize,
    /// Memtables, in MiB.
    pub write_buffer_mib: usize,
}

/// `[search]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// Whether users can search.
    pub enabled: bool,
    /// What may be held in memory before it is written to the index, in MiB, from 15.
    pub memory_mib: usize,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self { enabled: true, memory_mib: 20 }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { sync: true, cache_mib: 32, write_buffer_mib: 32 }
    }
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("data")
}

fn default_listen() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 8008))]
}

fn default_log() -> String {
    // The rules of rooms say at this level what they do for every event: costly, and of use only to those who look for it.
    "info,ruma_state_res=warn".to_owned()
}

/// A section, or whether there are limits at all.
fn rate_limits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RateConfig, D::Error> {
    struct Either;

    impl<'de> Visitor<'de> for Either {
        type Value = RateConfig;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true, false, or a section")
        }

        fn visit_bool<E>(self, enabled: bool) -> Result<RateConfig, E> {
            Ok(RateConfig { enabled, ..RateConfig::default() })
        }

        fn visit_map<A: MapAccess<'de>>(self, section: A) -> Result<RateConfig, A::Error> {
            RateConfig::deserialize(MapAccessDeserializer::new(section))
        }
    }

    deserializer.deserialize_any(Either)
}

impl Config {
    /// Reads the file, if any, and the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, StartError> {
        let mut figment = Figment::new();
        if let Some(file) = file {
            if !file.is_file() {
                return Err(StartError::Setting("config", format!("there is no file {}", file.display())));
            }
            figment = figment.merge(Toml::file(file));
        }
        let environment = Env::prefixed("CLIQUEPAY_").ignore(&["config", "bin"]).split("__");
        let mut config: Self =
            figment.merge(environment).extract().map_err(|error| StartError::Config(Box::new(error)))?;
        if !config.rate_limits.enabled {
            config.auth.limits.enabled = false;
            config.media.url_previews.rate.enabled = false;
        }
        config.auth.public_base_url.clone_from(&config.client_api.public_base_url);
        Ok(config)
    }

    /// Threads that answer requests.
    pub fn worker_threads(&self) -> usize {
        match self.worker_threads {
            0 => std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            threads => threads,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const EXAMPLE: &str = include_str!("../../../config.toml.example");

    /// Every option of the example, those that are commented out too, is one that the server knows.
    #[test]
    fn the_example_is_valid_with_every_option_switched_on() {
        let mut text = String::new();
        for line in EXAMPLE.lines() {
            let bare = line.strip_prefix('#').unwrap_or(line);
            let is_option = bare.starts_with(|c: char| c.is_ascii_lowercase()) && bare.contains(" = ");
            if is_option || bare.starts_with('[') {
                text.push_str(bare);
                text.push('\n');
            }
        }
        let config: Config = Figment::new().merge(Toml::string(&text)).extract().unwrap();
        assert_eq!(config.server_name, "example.org");
        assert!(config.tls.is_some() && config.metrics_listen.is_some());
        assert!(config.client_api.support.page.is_some() && !config.client_api.support.contacts.is_empty());
        assert!(config.media.dir.is_some() && config.media.s3.is_some());
        let kinds: Vec<_> = config.auth.oidc.iter().map(|provider| provider.kind).collect();
        assert_eq!(kinds, [auth::ProviderKind::Cognito, auth::ProviderKind::Generic]);
        assert!(config.appservices.folder.is_some() && !config.appservices.files.is_empty());
        assert!(config.federation.extra_ca.is_some() && !config.federation.key_servers.is_empty());
    }

    #[test]
    fn rate_limits_are_a_switch_or_a_section() {
        let limits = |text: &str| {
            let text = format!("server_name = \"x\"\n{text}");
            Figment::new().merge(Toml::string(&text)).extract::<Config>().map(|config| config.rate_limits).ok()
        };
        assert!(limits("").unwrap().enabled && limits("rate_limits = true").unwrap().enabled);
        assert!(!limits("rate_limits = false").unwrap().enabled);
        let some = limits("[rate_limits]\njoins = { per_second = 3.0, burst = 7 }").unwrap();
        assert!(some.enabled && some.joins == http_kit::LimitConfig::new(3.0, 7));
        assert!(limits("[rate_limits]\njions = { per_second = 3.0, burst = 7 }").is_none());
    }

    #[test]
    fn unknown_options_are_refused() {
        let config = Figment::new().merge(Toml::string("server_name = \"x\"\nsever = 1")).extract::<Config>();
        assert!(config.unwrap_err().to_string().contains("sever"));
    }
}
