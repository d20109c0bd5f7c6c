//! Tokens and devices of a log-in.

use std::time::Duration;

use http_kit::MatrixError;
use ruma::OwnedDeviceId;
use users::{UserNum, devices::NewDevice, tokens::NewTokens};

use crate::{error::RouteError, state::Auth};

/// By these prefixes leaked tokens can be found.
const ACCESS_PREFIX: &str = "cp_";
const REFRESH_PREFIX: &str = "cpr_";

/// Tokens that were made and not stored yet.
pub(crate) struct FreshTokens {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) expires_in: Option<Duration>,
    expires_ts: Option<u64>,
}

impl FreshTokens {
    pub(crate) fn as_new(&self) -> NewTokens<'_> {
        NewTokens { access: &self.access, expires_ts: self.expires_ts, refresh: self.refresh.as_deref() }
    }
}

/// How a client wants to be logged in.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeviceWish {
    pub(crate) device_id: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) refreshable: bool,
}

impl DeviceWish {
    /// The id that the client chose, or a new one. Some clients send an empty text for none.
    pub(crate) fn id(&self, auth: &Auth) -> OwnedDeviceId {
        match self.device_id.as_deref() {
            Some(id) if !id.is_empty() => id.into(),
            _ => auth.entropy.device_id(),
        }
    }
}

impl Auth {
    /// Tokens for a client that can refresh them end after a while; others live until they are logged out.
    pub(crate) fn fresh_tokens(&self, refreshable: bool) -> FreshTokens {
        let lifetime = u64::from(self.config.tokens.access_lifetime_seconds);
        let expires_in = refreshable.then(|| Duration::from_secs(lifetime));
        FreshTokens {
            access: self.entropy.token(ACCESS_PREFIX),
            refresh: refreshable.then(|| self.entropy.token(REFRESH_PREFIX)),
            expires_in,
            expires_ts: refreshable.then(|| self.clock.now_ms().saturating_add(lifetime * 1000)),
        }
    }

    /// Tokens of an app, which end after `seconds`.
    pub(crate) fn tokens_for(&self, seconds: u32, refresh: String) -> FreshTokens {
        let lifetime = u64::from(seconds);
        FreshTokens {
            access: self.entropy.token(ACCESS_PREFIX),
            refresh: Some(refresh),
            expires_in: Some(Duration::from_secs(lifetime)),
            expires_ts: Some(self.clock.now_ms().saturating_add(lifetime * 1000)),
        }
    }

    /// Logs a device of an account in.
    pub(crate) async fn log_in(
        &self,
        user: UserNum,
        wish: DeviceWish,
    ) -> Result<(OwnedDeviceId, FreshTokens), RouteError> {
        let tokens = self.fresh_tokens(wish.refreshable);
        let device_id = wish.id(self);
        let device =
            NewDevice { device_id: device_id.clone(), display_name: wish.display_name, tokens: tokens.as_new() };
        self.users.devices.create(user, &device).await?;
        Ok((device_id, tokens))
    }
}

/// Runs what must not stop half-way to its end, even if the client goes away meanwhile.
pub(crate) async fn uninterrupted<T: Send + 'static>(
    work: impl Future<Output = Result<T, RouteError>> + Send + 'static,
) -> Result<T, RouteError> {
    tokio::spawn(work).await.map_err(MatrixError::internal)?
}
