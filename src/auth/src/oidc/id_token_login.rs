//! `org.matrix.login.jwt`: clients that got an ID token themselves.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http_kit::MatrixError;
use serde::Deserialize;
use users::accounts::Account;

use crate::{
    credentials::usable,
    error::RouteError,
    oidc::{
        login::roles,
        provider::{Provider, ProviderError},
    },
    state::Auth,
};

/// What clients call this way to log in.
pub(crate) const ID_TOKEN_LOGIN: &str = "org.matrix.login.jwt";
/// One text for all that can be wrong.
const WRONG: &str = "This ID token does not open an account here";

/// Whose token it claims to be. Nothing is believed yet.
fn issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Payload {
        iss: String,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok().map(|Payload { iss }| iss)
}

impl Auth {
    /// Whether any provider's tokens are taken.
    pub(crate) fn takes_id_tokens(&self) -> bool {
        self.sso.iter().flat_map(|sso| &sso.providers).any(|provider| provider.settled.id_token_login)
    }

    /// The account that an ID token opens. It must exist: names are chosen in the browser.
    pub(crate) async fn open_by_id_token(&self, token: &str) -> Result<Account, RouteError> {
        let wrong = || MatrixError::forbidden(WRONG);
        let sso = self.sso.as_ref().ok_or_else(wrong)?;
        let takes = |provider: &&Provider| provider.settled.id_token_login;
        let provider = issuer(token).and_then(|issuer| sso.of_issuer(&issuer).filter(takes)).ok_or_else(wrong)?;
        let claims = provider.verify_foreign(token).await.map_err(|error| {
            tracing::info!(provider = %provider.settled.id, %error, "an ID token was refused");
            match error {
                ProviderError::Token(_) => wrong(),
                _ => MatrixError::unknown("The provider cannot be reached: try again later")
                    .with_status(http::StatusCode::BAD_GATEWAY),
            }
        })?;
        let identity = (provider.settled.issuer.clone(), claims.subject.clone());
        let row = sso.identities.find(&identity).await?;
        let row = row.ok_or_else(|| {
            MatrixError::forbidden("There is no account here yet for this ID token: log in with a browser once")
        })?;
        // A token from before the provider ended the session must not bring it back.
        let issued_ms = u64::try_from(claims.issued_at).unwrap_or(0).saturating_mul(1000);
        if row.ended_ts.is_some_and(|ended| issued_ms <= ended) {
            return Err(wrong().into());
        }
        let account = usable(self.users.accounts.get(row.user).await?.ok_or_else(wrong)?)?;
        self.apply_role(row.user, roles(provider, &claims)).await?;
        Ok(account)
    }
}
