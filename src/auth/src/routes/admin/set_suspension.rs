//! `PUT /_matrix/client/v1/admin/suspend/{userId}`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::admin::suspend_user::v1::{Request, Response};

use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<Response, RouteError> {
    let Request { user_id, suspended, .. } = request.body;
    let account = auth.to_moderate(&request.requester, &user_id).await?;
    auth.set_suspended(account.num, suspended).await?;
    tracing::info!(by = %request.requester.user_id, %user_id, suspended, "an account was moderated");
    Ok(Response::new(suspended))
}
