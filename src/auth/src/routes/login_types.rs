//! `GET /_matrix/client/v3/login`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::session::get_login_types::v3::{
    IdentityProvider, LoginType, PasswordLoginType, Request, Response, SsoLoginType, TokenLoginType,
};
use serde_json::Map;

use crate::{error::RouteError, oidc::ID_TOKEN_LOGIN, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, _request: Ruma<Request>) -> Result<Response, RouteError> {
    let mut flows = Vec::new();
    if auth.config.password.enabled {
        flows.push(LoginType::Password(PasswordLoginType::new()));
    }
    if let Some(sso) = &auth.sso {
        let mut flow = SsoLoginType::new();
        flow.identity_providers.extend(sso.providers.iter().map(|provider| {
            let mut shown = IdentityProvider::new(provider.settled.id.clone(), provider.settled.name.clone());
            shown.brand = provider.settled.brand.as_deref().map(Into::into);
            shown
        }));
        flows.push(LoginType::Sso(flow));
        flows.push(LoginType::Token(TokenLoginType::new()));
    }
    if auth.takes_id_tokens() {
        flows.push(LoginType::new(ID_TOKEN_LOGIN, Map::new()).map_err(http_kit::MatrixError::internal)?);
    }
    Ok(Response::new(flows))
}
