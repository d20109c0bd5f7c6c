//! Ways to log in: accounts and their passwords, sessions and tokens, registration, and the confirmation of delicate
//! operations.
//!
//! [`Auth`] holds it all, is the [`http_kit::Authenticator`] of the server, and serves the endpoints of [`router`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod appservices;
mod authenticator;
mod config;
mod credentials;
mod entropy;
mod error;
mod fields;
mod interactive;
mod nonces;
mod oauth;
mod oidc;
mod operation;
mod password;
mod registration_tokens;
mod routes;
mod sessions;
mod state;

#[cfg(test)]
mod tests;

pub use config::{
    AuthConfig, InteractiveConfig, LimitsConfig, PasswordConfig, RegistrationConfig, Secret, TokenConfig,
};
pub use error::{AuthConfigError, RouteError};
pub use interactive::{Challenge, Flow, Stage};
pub use oauth::OauthConfig;
pub use oidc::{
    ClientAuth, MAX_ANSWER, OidcConfig, OidcConfigError, ProviderKind, SEAL_KEY_LENGTH, SsoConfig, UpstreamError,
    UpstreamHttp, UpstreamParts, WebClient,
};
pub use operation::Operation;
pub use password::PasswordError;
pub use registration_tokens::{RegistrationTokenError, RegistrationTokens};
pub use routes::router;
pub use state::{AccountHook, Auth, AuthParts, HookFuture};
