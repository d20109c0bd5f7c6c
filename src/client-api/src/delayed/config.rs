use serde::Deserialize;

/// The section `[client_api.delayed_events]`: events that clients have sent later.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DelayedConfig {
    /// How long one may wait, in seconds.
    pub max_delay_seconds: u64,
    /// How many of a user may wait at once.
    pub max_per_user: usize,
}

impl Default for DelayedConfig {
    fn default() -> Self {
        Self { max_delay_seconds: 7 * 86_400, max_per_user: 100 }
    }
}

impl DelayedConfig {
    pub(super) fn max_delay_ms(&self) -> u64 {
        self.max_delay_seconds.saturating_mul(1000)
    }
}
