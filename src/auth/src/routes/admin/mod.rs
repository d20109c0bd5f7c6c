//! What administrators do about accounts: here, since it counts from the next request on.
//! [Account moderation](https://spec.matrix.org/v1.19/client-server-api/#account-moderation).

mod get_lock;
mod get_suspension;
mod set_lock;
mod set_suspension;

use std::sync::Arc;

use axum::{Router, extract::FromRef};
use http_kit::{Authenticator, EndpointOptions, MatrixError, Requester, RumaRouter as _};
use ruma::UserId;
use users::accounts::Account;

use crate::{error::RouteError, state::Auth};

pub(super) fn router<S>(options: EndpointOptions) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Auth>: FromRef<S>,
    Arc<dyn Authenticator>: FromRef<S>,
{
    Router::new()
        .ruma_with(options, get_lock::handler)
        .ruma_with(options, set_lock::handler)
        .ruma_with(options, get_suspension::handler)
        .ruma_with(options, set_suspension::handler)
}

impl Auth {
    /// The account that an administrator asks about: not another administrator's.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN` before anything is looked up, 400 `M_INVALID_PARAM`, 404 `M_NOT_FOUND`.
    async fn moderated(&self, requester: &Requester, user_id: &UserId) -> Result<Account, RouteError> {
        requester.only_admins()?;
        if !self.users.accounts.is_local(user_id) {
            return Err(MatrixError::invalid_param("userId", "not a user of this server").into());
        }
        let account = self.users.accounts.by_user_id(user_id).await?.filter(|account| !account.deactivated);
        let account = account.ok_or_else(|| MatrixError::not_found("There is no such user on this server"))?;
        if account.admin && account.num != requester.user {
            return Err(MatrixError::forbidden("This user is an administrator").into());
        }
        Ok(account)
    }

    /// The same, to change it: nor is it the requester's own.
    async fn to_moderate(&self, requester: &Requester, user_id: &UserId) -> Result<Account, RouteError> {
        let account = self.moderated(requester, user_id).await?;
        if account.num == requester.user {
            return Err(MatrixError::forbidden("Nobody does this to themselves").into());
        }
        Ok(account)
    }
}
