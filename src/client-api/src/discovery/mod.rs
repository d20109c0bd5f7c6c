//! What clients ask before anything else.
//! [API standards](https://spec.matrix.org/v1.19/client-server-api/#api-standards),
//! [Capabilities negotiation](https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation).

mod capabilities;
mod versions;
mod well_known;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(versions::handler).ruma(well_known::handler).ruma(capabilities::handler)
}
