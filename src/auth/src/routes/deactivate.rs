//! `POST /_matrix/client/v3/account/deactivate`

use std::sync::Arc;

use axum::extract::State;
use http_kit::{MatrixError, Ruma, WithJson};
use ruma::{
    OwnedUserId,
    api::client::account::{
        ThirdPartyIdRemovalStatus,
        deactivate::v3::{Request, Response},
    },
};
use serde::Deserialize;
use users::UserNum;

use crate::{error::RouteError, operation::Operation, sessions::uninterrupted, state::Auth};

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
    auth.confirm(&requester, Operation::Deactivate, &request.json_body).await?;
    let erase = request.body.json.erase == Some(true);
    auth.close_account(requester.user, requester.user_id.clone(), erase).await?;
    // No third-party identifiers are bound here, so none are left over.
    Ok(Response::new(ThirdPartyIdRemovalStatus::Success))
}

impl Auth {
    /// Closes an account for good: it leaves its rooms and is logged out everywhere.
    pub(crate) async fn close_account(
        self: &Arc<Self>,
        user: UserNum,
        user_id: OwnedUserId,
        erase: bool,
    ) -> Result<(), RouteError> {
        let auth = Arc::clone(self);
        uninterrupted(async move {
            auth.hook.deactivate(user, &user_id, erase).await.map_err(MatrixError::internal)?;
            auth.users.deactivate(user).await?;
            auth.service_users.clear();
            auth.end_browsers(user);
            auth.after_logout(user).await
        })
        .await
    }
}
