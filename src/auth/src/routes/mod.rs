//! The endpoints, one a file.

mod account_page;
mod admin;
mod asker;
mod auth_fallback;
mod change_password;
mod deactivate;
mod delete_device;
mod delete_devices;
mod get_device;
mod get_login_token;
mod list_devices;
mod list_threepids;
mod login;
mod login_page;
mod login_types;
mod logout;
mod logout_all;
mod oauth;
mod refresh;
mod register;
mod register_available;
mod shared_secret;
mod sso;
mod token_validity;
mod update_device;
mod upload_signing_keys;
mod whoami;

use std::sync::Arc;

use axum::{Router, extract::FromRef, routing::get};
use http_kit::{Authenticator, EndpointOptions, RumaRouter as _, with_cors};

use crate::state::Auth;

/// All endpoints of this crate.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Auth>: FromRef<S>,
    Arc<dyn Authenticator>: FromRef<S>,
{
    // Nothing here is large, and most of it is open to strangers.
    let small = EndpointOptions::default().body_limit(64 * 1024);
    Router::new()
        .ruma_with(small, login_types::handler)
        .ruma_with(small, login::handler)
        .ruma_with(small, get_login_token::handler)
        .ruma_with(small, register::handler)
        .ruma_with(small, register_available::handler)
        .ruma_with(small, token_validity::handler)
        .ruma_with(small, logout::handler)
        .ruma_with(small, logout_all::handler)
        .ruma_with(small, refresh::handler)
        .ruma_with(small, whoami::handler)
        .ruma_with(small, change_password::handler)
        .ruma_with(small, deactivate::handler)
        .ruma_with(small, list_devices::handler)
        .ruma_with(small, list_threepids::handler)
        .ruma_with(small, get_device::handler)
        .ruma_with(small, update_device::handler)
        .ruma_with(small, delete_device::handler)
        .ruma_with(small, delete_devices::handler)
        .merge(admin::router(small))
        .merge(sso::router())
        .merge(oauth::router(small))
        .route("/_cliquepay/account", get(account_page::show).post(account_page::send))
        .route("/_matrix/client/r0/auth/{stage}/fallback/web", get(auth_fallback::show))
        .route("/_matrix/client/v3/auth/{stage}/fallback/web", get(auth_fallback::show))
        .route("/_cliquepay/login/confirm/{idp_id}", get(auth_fallback::at_provider))
        .ruma_with(small, upload_signing_keys::handler)
        .route("/_synapse/admin/v1/register", with_cors(get(shared_secret::nonce).post(shared_secret::register)))
}
