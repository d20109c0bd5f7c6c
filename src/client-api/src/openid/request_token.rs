//! `POST /_matrix/client/v3/user/{userId}/openid/request_token`

use std::time::Duration;

use axum::extract::State;
use http_kit::Ruma;
use ruma::{
    api::client::account::request_openid_token::v3::{Request, Response},
    authentication::TokenType,
};
use users::openid::OPENID_LIFETIME_MS;

use crate::{ApiError, App, own::only_own};

/// Letters and digits of a token: more than 128 bits.
const TOKEN_LENGTH: usize = 32;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    only_own(&requester, &body.user_id)?;
    let token = app.random_string(TOKEN_LENGTH);
    app.users.openid.issue(requester.user, &token).await?;
    let server = app.engine.identity.server_name.clone();
    Ok(Response::new(token, TokenType::Bearer, server, Duration::from_millis(OPENID_LIFETIME_MS)))
}
