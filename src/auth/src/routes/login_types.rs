//! `GET /_matrix/client/v3/login`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::session::get_login_types::v3::{LoginType, PasswordLoginType, Request, Response};

use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, _request: Ruma<Request>) -> Result<Response, RouteError> {
    let mut flows = Vec::new();
    if auth.config.password.enabled {
        flows.push(LoginType::Password(PasswordLoginType::new()));
    }
    Ok(Response::new(flows))
}
