//! Rooms in spaces, and what rooms look like from outside.
//! [Spaces](https://spec.matrix.org/v1.19/client-server-api/#spaces).

mod get_hierarchy;
mod get_summary;
mod walk;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub(crate) use self::walk::Walks;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(get_hierarchy::handler).ruma(get_summary::handler)
}
