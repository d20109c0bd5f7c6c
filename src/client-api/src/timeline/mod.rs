//! Reading the timeline.
//! [Getting events for a room](https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room).

mod get_messages;
mod pages;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(get_messages::handler)
}
