//! What every HTTP endpoint of CliquePay shares: ruma request types as axum handlers, the [`Authenticator`] seam,
//! Matrix errors, CORS, body and rate limits.
//!
//! An endpoint is one file with one function, and one line where the router is built:
//!
//! ```
//! use axum::{Router, extract::State};
//! use http_kit::{MatrixError, Ruma, RumaRouter, route_error};
//! use ruma::api::client::alias::get_alias::v3::{Request, Response};
//!
//! # #[derive(Clone)]
//! # struct App(std::sync::Arc<dyn http_kit::Authenticator>);
//! # impl axum::extract::FromRef<App> for std::sync::Arc<dyn http_kit::Authenticator> {
//! #     fn from_ref(app: &App) -> Self { app.0.clone() }
//! # }
//! #[derive(Debug, thiserror::Error)]
//! enum RouteError {
//!     #[error("No room has the alias {0}")]
//!     NoSuchAlias(ruma::OwnedRoomAliasId),
//! }
//!
//! impl From<RouteError> for MatrixError {
//!     fn from(error: RouteError) -> Self {
//!         match error {
//!             RouteError::NoSuchAlias(_) => MatrixError::not_found(error.to_string()),
//!         }
//!     }
//! }
//! route_error!(RouteError);
//!
//! async fn handler(State(_app): State<App>, request: Ruma<Request>) -> Result<Response, RouteError> {
//!     Err(RouteError::NoSuchAlias(request.body.room_alias))
//! }
//!
//! fn router() -> Router<App> {
//!     Router::new().ruma(handler)
//! }
//! ```
//!
//! The whole application ends with [`finish`], which answers unknown paths, wrong methods and CORS preflights.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod auth;
pub mod body;
mod clock;
mod cors;
mod endpoint;
mod error;
mod extract;
mod fallback;
mod json;
mod limits;
mod parse;
mod peer;
mod rates;
mod reply;
mod retry;
mod token;
mod with_json;

#[cfg(test)]
mod tests;

pub use auth::{
    Appservice, AuthError, AuthFuture, Authenticated, Authenticator, ClientAuth, RequestMeta, Requester, RequesterInfo,
    ServiceToken,
};
pub use clock::Clock;
pub use cors::with_cors;
pub use endpoint::{EndpointOptions, RumaHandler, RumaRouter, bounded, method_filter};
pub use error::{ErrCode, MatrixError};
pub use extract::{JsonBody, Ruma, parse_request, path_args};
pub use fallback::finish;
pub use json::{MAX_JSON_DEPTH, depth_within};
pub use limits::{LimitConfig, LimitKey, RateLimiter};
pub use peer::{ClientIp, TrustedProxies};
pub use rates::{Group, RateConfig, RateLimits};
pub use reply::{RawJson, RawReply, Reply};
pub use retry::retry_wait;
pub use with_json::WithJson;
