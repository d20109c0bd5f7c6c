//! `GET /_matrix/client/v1/admin/suspend/{userId}`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::admin::is_user_suspended::v1::{Request, Response};

use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<Response, RouteError> {
    let account = auth.moderated(&request.requester, &request.body.user_id).await?;
    Ok(Response::new(account.suspended))
}
