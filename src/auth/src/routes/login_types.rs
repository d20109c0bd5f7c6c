//! `GET /_matrix/client/v3/login`

use std::sync::Arc;

use axum::extract::State;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::api::client::session::get_login_types::v3::{
    ApplicationServiceLoginType, IdentityProvider, LoginType, PasswordLoginType, Request, SsoLoginType, TokenLoginType,
};
use serde_json::{Map, Value, json};

use crate::{error::RouteError, oidc::ID_TOKEN_LOGIN, state::Auth};

/// What `oauth_aware_preferred` was called before it was in the specification (MSC3824), for clients from then.
const UNSTABLE_PREFERRED: &str = "org.matrix.msc3824.delegated_oidc_compatibility";

pub(super) async fn handler(State(auth): State<Arc<Auth>>, _request: Ruma<Request>) -> Result<RawJson, RouteError> {
    let mut flows = Vec::new();
    if auth.config.password.enabled {
        flows.push(shown(&LoginType::Password(PasswordLoginType::new()))?);
    }
    if let Some(sso) = &auth.sso {
        let mut flow = SsoLoginType::new();
        flow.identity_providers.extend(sso.providers.iter().map(|provider| {
            let mut shown = IdentityProvider::new(provider.settled.id.clone(), provider.settled.name.clone());
            shown.brand = provider.settled.brand.as_deref().map(Into::into);
            shown
        }));
        flow.oauth_aware_preferred = auth.oauth.is_some();
        let mut flow = shown(&LoginType::Sso(flow))?;
        if auth.oauth.is_some() {
            flow[UNSTABLE_PREFERRED] = true.into();
        }
        flows.push(flow);
    }
    let mut by_token = TokenLoginType::new();
    by_token.get_login_token = true;
    flows.push(shown(&LoginType::Token(by_token))?);
    if !auth.appservices.is_empty() && auth.offers_login() {
        flows.push(shown(&LoginType::ApplicationService(ApplicationServiceLoginType::new()))?);
    }
    if auth.takes_id_tokens() {
        flows.push(shown(&LoginType::new(ID_TOKEN_LOGIN, Map::new()).map_err(MatrixError::internal)?)?);
    }
    Ok(RawJson(json!({ "flows": flows }).to_string().into()))
}

fn shown(flow: &LoginType) -> Result<Value, RouteError> {
    Ok(serde_json::to_value(flow).map_err(MatrixError::internal)?)
}
