//! Asking providers whether somebody's account there still stands. Only trying the refresh token again tells: Cognito says
//! nothing when a user is disabled.

use futures::{StreamExt as _, stream};

use crate::{
    error::RouteError,
    oidc::{
        Sso,
        identities::{Grant, Identity},
        login::roles,
        provider::{Refreshed, Tokens},
    },
    state::Auth,
};

/// Grants that are looked at in one go.
const AT_ONCE: usize = 256;
/// How often that is done in one call while there are more. A bound, should a row be due again at once.
const ROUNDS: usize = 64;
/// Requests at the same time.
const CONCURRENT: usize = 8;
/// When a provider that did not answer is asked again, in milliseconds.
const AGAIN_MS: u64 = 60_000;
/// When a grant of a provider that is not configured any more is looked at again, in milliseconds.
const UNKNOWN_AGAIN_MS: u64 = 3_600_000;
/// How much later than their last login token somebody is logged out once more, in milliseconds.
const AFTER_TOKENS_MS: u64 = 1000;
/// How long the devices are kept of somebody whom the provider does not vouch for any more, in milliseconds: thirty days. A refresh token ends by
/// itself, too, and whoever logs in again is to have their keys.
const KEEP_DEVICES_MS: u64 = 30 * 24 * 3_600_000;

impl Auth {
    /// Looks at every grant whose time has come; to be called every few seconds. Whoever was disabled at their provider is
    /// logged out within `recheck_seconds`, the time between two calls and that of one request. While a provider does not
    /// answer nobody is logged out.
    ///
    /// # Errors
    /// Those of the store; single grants are logged and tried again.
    pub async fn recheck_upstream(&self) -> users::Result<()> {
        let Some(sso) = &self.sso else { return Ok(()) };
        for _ in 0..ROUNDS {
            let due = sso.identities.due(self.clock.now_ms(), AT_ONCE).await?;
            let more = due.len() == AT_ONCE;
            stream::iter(due)
                .for_each_concurrent(CONCURRENT, |identity| async move {
                    if let Err(error) = self.recheck(sso, &identity).await {
                        tracing::warn!(%error, issuer = %identity.0, "a session at a provider could not be looked at");
                    }
                })
                .await;
            if !more {
                break;
            }
        }
        Ok(())
    }

    async fn recheck(&self, sso: &Sso, identity: &Identity) -> Result<(), RouteError> {
        let Some(grant) = sso.identities.grant(identity).await? else { return Ok(()) };
        let now = self.clock.now_ms();
        if grant.ended {
            return self.after_end(sso, identity, grant, now).await;
        }
        let Some(provider) = sso.of_issuer(&identity.0) else {
            return self.look_again(sso, identity, grant, None, now.saturating_add(UNKNOWN_AGAIN_MS)).await;
        };
        let Some((sealer, refresh)) = sso
            .sealer
            .as_ref()
            .and_then(|sealer| Some((sealer, sealer.open(&grant.sealed, &[&identity.0, &identity.1])?)))
        else {
            tracing::warn!(issuer = %identity.0, "a refresh token cannot be decrypted: its sessions end");
            return self.end_sessions(sso, identity, grant).await;
        };
        match provider.refresh(&refresh, &identity.1).await {
            Ok(Refreshed::Ended) => self.end_sessions(sso, identity, grant).await,
            Ok(Refreshed::Stands(Tokens { claims, refresh })) => {
                let role = claims.and_then(|claims| roles(provider, &claims));
                self.apply_role(grant.user, role).await?;
                let sealed = refresh.and_then(|new| sealer.seal(&new, &[&identity.0, &identity.1], &self.entropy));
                let due = self.clock.now_ms().saturating_add(provider.settled.recheck_ms);
                self.look_again(sso, identity, grant, sealed, due).await
            }
            Err(error) => {
                tracing::warn!(provider = %provider.settled.id, %error, "a provider was no help: it is asked again");
                let due = now.saturating_add(AGAIN_MS.min(provider.settled.recheck_ms));
                self.look_again(sso, identity, grant, None, due).await
            }
        }
    }

    /// If the row was changed meanwhile, by a log-in, that is the newer truth.
    async fn look_again(
        &self,
        sso: &Sso,
        identity: &Identity,
        grant: Grant,
        sealed: Option<String>,
        due_ts: u64,
    ) -> Result<(), RouteError> {
        sso.identities.renew(identity, grant, sealed, due_ts).await?;
        Ok(())
    }

    async fn end_sessions(&self, sso: &Sso, identity: &Identity, grant: Grant) -> Result<(), RouteError> {
        let (user, now) = (grant.user, self.clock.now_ms());
        let due = now.saturating_add(sso.token_ms).saturating_add(AFTER_TOKENS_MS);
        if sso.identities.end(identity, grant, now, due).await? {
            tracing::info!(issuer = %identity.0, user, "the provider ended a session: its user is logged out");
            self.end_browsers(user);
            self.users.devices.log_out_softly(user).await?;
        }
        Ok(())
    }

    /// Once more, for login tokens that were given out before the end; and after a long time the devices go.
    async fn after_end(&self, sso: &Sso, identity: &Identity, grant: Grant, now: u64) -> Result<(), RouteError> {
        let ended = sso.identities.find(identity).await?.and_then(|row| row.ended_ts).unwrap_or(now);
        let kept_until = ended.saturating_add(KEEP_DEVICES_MS);
        if now >= kept_until {
            self.users.devices.delete_logged_out(grant.user).await?;
            sso.identities.drop_grant(identity, grant).await?;
            return Ok(());
        }
        self.end_browsers(grant.user);
        self.users.devices.log_out_softly(grant.user).await?;
        self.look_again(sso, identity, grant, None, kept_until).await
    }
}
