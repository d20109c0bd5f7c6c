//! Making rooms. [Creation](https://spec.matrix.org/v1.19/client-server-api/#creation).

mod create_room;
mod plan;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(create_room::handler)
}
