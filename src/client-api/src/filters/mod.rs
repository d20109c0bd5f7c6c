//! Filters that clients upload. [Filtering](https://spec.matrix.org/v1.19/client-server-api/#filtering).

mod create;
mod get;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(create::handler).ruma(get::handler)
}
