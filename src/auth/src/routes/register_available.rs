//! `GET /_matrix/client/v3/register/available`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::account::get_username_availability::v3::{Request, Response};

use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<Response, RouteError> {
    auth.registration_flows()?;
    auth.limits.registration_available(request.ip)?;
    let localpart = request.body.username.to_ascii_lowercase();
    auth.check_free(&localpart).await?;
    Ok(Response::new(true))
}
