//! Finding what was said. [Server side search](https://spec.matrix.org/v1.19/client-server-api/#server-side-search).

mod answer;
mod results;
mod scope;
mod search_events;
mod token;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(search_events::handler)
}
