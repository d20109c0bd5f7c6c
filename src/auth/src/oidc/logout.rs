//! Logging out: of this server, and of the provider.

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use users::UserNum;

use crate::{
    config::Secret,
    error::RouteError,
    oidc::{
        identities::Identity,
        login::{Trouble, sso},
        pages::Pages,
        words::Problem,
    },
    state::Auth,
};

impl Auth {
    /// After a user's devices were logged out: if that were all, what this server can ask the provider with is given back.
    pub(crate) async fn after_logout(self: &Arc<Self>, user: UserNum) -> Result<(), RouteError> {
        let Some(sso) = &self.sso else { return Ok(()) };
        let identities = sso.identities.of_user(user).await?;
        if identities.is_empty() || !self.users.devices.list(user).await?.is_empty() {
            return Ok(());
        }
        // What was let in and did not come yet would have no grant: nobody would ask for it whether its user is still there.
        self.end_browsers(user);
        self.users.tokens.forget_logins(user).await?;
        for identity in identities {
            let Some(grant) = sso.identities.grant(&identity).await? else {
                continue;
            };
            let refresh =
                sso.sealer.as_ref().and_then(|sealer| sealer.open(&grant.sealed, &[&identity.0, &identity.1]));
            let dropped = sso.identities.drop_grant(&identity, grant).await?;
            if let Some(refresh) = refresh.filter(|_| dropped) {
                self.revoke_behind(identity, refresh);
            }
        }
        Ok(())
    }

    /// The client need not wait for the provider. If it is not to be reached, its token ends by itself some day, and nobody here
    /// has it any more.
    fn revoke_behind(self: &Arc<Self>, identity: Identity, refresh: Secret) {
        let auth = Arc::clone(self);
        tokio::spawn(async move {
            let Some(provider) = auth.sso.as_ref().and_then(|sso| sso.of_issuer(&identity.0)) else { return };
            if let Err(error) = provider.revoke(&refresh).await {
                tracing::info!(provider = %provider.settled.id, %error, "a refresh token was not revoked");
            }
        });
    }

    /// The page from which one logs out of a provider.
    pub(crate) async fn logout_page(&self, id: &str, headers: &HeaderMap) -> Result<Response, Trouble> {
        let sso = sso(self)?;
        let (_, provider) = sso.find(id).ok_or(Trouble(StatusCode::NOT_FOUND, Problem::NoSuchProvider))?;
        let link = provider.logout_url(&sso.url("/_cliquepay/login/out")).await.map_err(|error| {
            tracing::warn!(provider = id, %error, "where to log out is not known");
            Trouble(StatusCode::BAD_GATEWAY, Problem::Unreachable)
        })?;
        Ok(Pages::of(headers).log_out(&provider.settled.name, link.as_deref()))
    }
}
