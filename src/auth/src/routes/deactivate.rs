//! `POST /_matrix/client/v3/account/deactivate`

use std::sync::Arc;

use axum::extract::State;
use http_kit::{MatrixError, Ruma, WithJson};
use ruma::api::client::account::{
    ThirdPartyIdRemovalStatus,
    deactivate::v3::{Request, Response},
};
use serde::Deserialize;

use crate::{error::RouteError, sessions::uninterrupted, state::Auth};

#[derive(Deserialize)]
pub(super) struct Body {
    #[serde(default)]
    erase: Option<bool>,
}

pub(super) async fn handler(
    State(auth): State<Arc<Auth>>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<Response, RouteError> {
    let requester = request.requester.ok_or_else(|| MatrixError::missing_token("Log in to close your account"))?;
    auth.confirm(&requester, "deactivate", &request.json_body).await?;
    let erase = request.body.json.erase == Some(true);
    uninterrupted(async move {
        let closed = auth.hook.deactivate(requester.user, &requester.user_id, erase).await;
        closed.map_err(MatrixError::internal)?;
        auth.users.deactivate(requester.user).await?;
        auth.end_browsers(requester.user);
        auth.after_logout(requester.user).await?;
        // No third-party identifiers are bound here, so none are left over.
        Ok(Response::new(ThirdPartyIdRemovalStatus::Success))
    })
    .await
}
