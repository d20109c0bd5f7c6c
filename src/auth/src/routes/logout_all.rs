//! `POST /_matrix/client/v3/logout/all`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::session::logout_all::v3::{Request, Response};

use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<Response, RouteError> {
    auth.users.devices.delete_all(request.requester.user, None).await?;
    auth.end_browsers(request.requester.user);
    auth.after_logout(request.requester.user).await?;
    Ok(Response::new())
}
