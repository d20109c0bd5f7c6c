//! `GET /_matrix/client/v3/pushrules/global/`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::push::get_pushrules_global_scope::v3::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    Ok(Response::new(app.users.push_rules.get(request.requester.user).await?))
}
