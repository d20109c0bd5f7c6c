//! `POST /_matrix/client/v3/logout`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::session::logout::v3::{Request, Response};

use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<Response, RouteError> {
    if let Some(device) = request.requester.device_id.clone() {
        auth.users.devices.delete(request.requester.user, &[device]).await?;
        auth.after_logout(request.requester.user).await?;
    }
    Ok(Response::new())
}
