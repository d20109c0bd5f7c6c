//! The Client-Server API: one file per endpoint, grouped by area, and the assembly of `/sync`.
//!
//! A handler takes [`State<App>`](axum::extract::State) and a [`http_kit::Ruma`] request, and answers an [`ApiError`] where it
//! cannot. Each area has a `router()` that lists its endpoints, a line each.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod app;
mod error;
mod filter;
mod page;
mod send;
mod sync;
#[cfg(test)]
#[allow(dead_code)]
mod testing;
#[cfg(test)]
mod tests;

pub use app::{App, AppParts, ClientApiConfig};
pub use error::ApiError;

/// All endpoints of this crate.
pub fn router() -> axum::Router<App> {
    axum::Router::new().merge(send::router()).merge(sync::router())
}
