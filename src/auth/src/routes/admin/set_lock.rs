//! `PUT /_matrix/client/v1/admin/lock/{userId}`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::admin::lock_user::v1::{Request, Response};

use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<Response, RouteError> {
    let Request { user_id, locked, .. } = request.body;
    let account = auth.to_moderate(&request.requester, &user_id).await?;
    auth.set_locked(account.num, locked).await?;
    tracing::info!(by = %request.requester.user_id, %user_id, locked, "an account was moderated");
    Ok(Response::new(locked))
}
