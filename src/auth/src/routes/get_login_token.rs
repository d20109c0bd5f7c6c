//! `POST /_matrix/client/v1/login/get_token`

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use http_kit::{Ruma, WithJson};
use ruma::api::client::session::get_login_token::v1::{Request, Response};
use serde::de::IgnoredAny;

use crate::{error::RouteError, operation::Operation, state::Auth};

/// The body has only `auth`, which is read where it is checked.
pub(super) async fn handler(
    State(auth): State<Arc<Auth>>,
    request: Ruma<WithJson<Request, IgnoredAny>>,
) -> Result<Response, RouteError> {
    auth.confirm(&request.requester, Operation::LoginToken, &request.json_body).await?;
    auth.limits.confirms(request.requester.user_id.localpart())?;
    let lifetime_ms = u64::from(auth.config.sso.token_seconds) * 1000;
    let token = auth.login_token(request.requester.user, lifetime_ms).await?;
    Ok(Response::new(Duration::from_millis(lifetime_ms), token))
}
