//! Making and replacing rooms. [Creation](https://spec.matrix.org/v1.19/client-server-api/#creation),
//! [room upgrades](https://spec.matrix.org/v1.19/client-server-api/#room-upgrades).

mod carry_over;
mod create_room;
mod levels;
mod plan;
mod upgrade_room;

use axum::Router;
use http_kit::RumaRouter;

pub(crate) use self::plan::rules_of;
use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(create_room::handler).ruma(upgrade_room::handler)
}
