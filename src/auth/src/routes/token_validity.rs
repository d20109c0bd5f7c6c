//! `GET /_matrix/client/v1/register/m.login.registration_token/validity`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::account::check_registration_token_validity::v1::{Request, Response};

use crate::{credentials::registration_error, error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<Response, RouteError> {
    auth.registration_flows()?;
    // Else it would be the place to guess tokens.
    auth.limits.registration_from(request.ip)?;
    let valid = auth.registration_tokens.is_valid(&request.body.token).await.map_err(registration_error)?;
    Ok(Response::new(valid))
}
