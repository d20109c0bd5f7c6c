//! Finding people. [User Directory](https://spec.matrix.org/v1.19/client-server-api/#user-directory).

mod elsewhere;
mod search;
mod terms;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(search::handler)
}
