//! The endpoints of the OAuth 2.0 API, one a file.
//! [OAuth 2.0 API](https://spec.matrix.org/v1.19/client-server-api/#oauth-20-api).

mod auth_metadata;
mod authorize;
mod begin_device;
mod consent;
mod link;
mod register_client;
mod revoke;
mod token;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::FromRef,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::StatusCode;
use http_kit::{Authenticator, EndpointOptions, RumaRouter as _, bounded};

use crate::{oauth::OauthError, state::Auth};

/// How long an answer to an app may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The routes of the OAuth 2.0 API.
pub(super) fn router<S>(options: EndpointOptions) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Auth>: FromRef<S>,
    Arc<dyn Authenticator>: FromRef<S>,
{
    Router::new()
        .ruma_with(options, auth_metadata::handler)
        // Where other software looks for the same: RFC 8414, and OpenID Connect Discovery, which clients from before 2025 follow.
        .route("/.well-known/oauth-authorization-server", get(auth_metadata::well_known))
        .route("/.well-known/openid-configuration", get(auth_metadata::well_known))
        .route("/_cliquepay/oauth/register", post(register_client::handler))
        .route("/_cliquepay/oauth/authorize", get(authorize::handler))
        .route("/_cliquepay/oauth/consent", post(consent::handler))
        .route("/_cliquepay/oauth/token", post(token::handler))
        .route("/_cliquepay/oauth/revoke", post(revoke::handler))
        .route("/_cliquepay/oauth/device", post(begin_device::handler))
        .route("/_cliquepay/oauth/link", get(link::show).post(link::send))
}

/// An answer to an app, which may be a web site of another origin.
async fn to_app(answer: impl Future<Output = Result<Response, OauthError>> + Send) -> Response {
    let options = EndpointOptions::default().timeout(TIMEOUT);
    bounded(async { answer.await.unwrap_or_else(|error| error.into_response()) }, options).await
}

/// What must be in a request of an app.
fn needed<'a>(fields: &'a crate::fields::Fields, name: &str) -> Result<&'a str, OauthError> {
    let missing = || OauthError::invalid_request(format!("{name} is missing, or there is more than one"));
    fields.get(name).filter(|value| !value.is_empty()).ok_or_else(missing)
}

/// Nothing here takes longer to read than a form.
fn is_json(headers: &http::HeaderMap) -> Result<(), OauthError> {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    let why = "The body must be application/json";
    Err(OauthError { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, ..OauthError::invalid_request(why) })
}
