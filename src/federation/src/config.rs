use std::path::PathBuf;

use ruma::OwnedServerName;
use serde::Deserialize;

/// A key that is out of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldKey {
    /// The part of its id after `ed25519:`.
    pub version: String,
    /// Its public half.
    pub public_key: [u8; 32],
    /// When it went out of use, in milliseconds since the Unix epoch.
    pub expired_ms: u64,
}

/// What an operator may decide about federation.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FederationConfig {
    /// Whether this server talks to others at all.
    pub enabled: bool,
    /// A PEM file with certificate authorities that are trusted besides the well-known ones.
    pub extra_ca: Option<PathBuf>,
    /// Whether other servers may be at private and loopback addresses. On only in closed networks and tests: otherwise a stranger
    /// could make this server send requests into the network it stands in.
    pub allow_private_addresses: bool,
    /// Whether names are looked up with SRV records.
    pub srv: bool,
    /// Servers that are asked for the keys of others that do not answer themselves.
    pub key_servers: Vec<OwnedServerName>,
    /// Keys that this server signed with before the one in use. No option: the binary reads them from the file of the keys.
    #[serde(skip)]
    pub old_keys: Vec<OldKey>,
    /// `host:port` that other servers reach this one at, served as `/.well-known/matrix/server`; none leaves it unserved.
    pub well_known_server: Option<OwnedServerName>,
    /// Whether other servers are told of the presence of local users.
    pub presence: bool,
}

impl Default for FederationConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            extra_ca: None,
            allow_private_addresses: false,
            srv: true,
            key_servers: Vec::new(),
            old_keys: Vec::new(),
            well_known_server: None,
            presence: true,
        }
    }
}
