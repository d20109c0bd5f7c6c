use serde::Deserialize;

/// What an operator may decide about push notifications.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushConfig {
    /// Whether push gateways may be at private and loopback addresses.
    pub allow_private_addresses: bool,
}
