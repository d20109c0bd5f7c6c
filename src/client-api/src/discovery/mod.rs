//! What clients ask before anything else.
//! [API standards](https://spec.matrix.org/v1.19/client-server-api/#api-standards),
//! [Capabilities negotiation](https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation).

mod capabilities;
mod support;
mod versions;
mod well_known;

use axum::Router;
use http_kit::RumaRouter;

pub use self::support::{SupportConfig, SupportContact};
use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(versions::handler).ruma(well_known::handler).ruma(support::handler).ruma(capabilities::handler)
}
