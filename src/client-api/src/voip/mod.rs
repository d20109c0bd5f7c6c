//! Where calls find a relay. [Voice over IP](https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip).

mod config;
mod get_turn_server;

use axum::Router;
use http_kit::RumaRouter;

pub use self::config::TurnConfig;
use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(get_turn_server::handler)
}
