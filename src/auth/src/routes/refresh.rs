//! `POST /_matrix/client/v3/refresh`

use std::sync::Arc;

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::api::client::session::refresh_token::v3::{Request, Response};

use crate::{error::RouteError, oauth::REFRESH_PREFIX, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<Response, RouteError> {
    // Apps of the OAuth 2.0 API refresh there, where it is checked whose token it is.
    if request.body.refresh_token.starts_with(REFRESH_PREFIX) {
        return Err(MatrixError::unknown_token(false).into());
    }
    auth.refuse_locked(&request.body.refresh_token).await?;
    let tokens = auth.fresh_tokens(true);
    auth.users.tokens.refresh(&request.body.refresh_token, &tokens.as_new()).await?;
    let mut response = Response::new(tokens.access);
    response.refresh_token = tokens.refresh;
    response.expires_in_ms = tokens.expires_in;
    Ok(response)
}

impl Auth {
    /// Refuses a refresh token of a locked account, and leaves it as it is: once the account is unlocked the session goes on.
    async fn refuse_locked(&self, refresh: &str) -> Result<(), RouteError> {
        let Some((user, _)) = self.users.tokens.owner(refresh).await? else { return Ok(()) };
        match self.users.accounts.get(user).await? {
            Some(account) if account.locked => Err(MatrixError::user_locked().into()),
            _ => Ok(()),
        }
    }
}
