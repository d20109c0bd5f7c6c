//! Reading the timeline.
//! [Getting events for a room](https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room).

mod direction;
mod get_context;
mod get_event;
mod get_event_by_timestamp;
mod get_messages;
mod get_relations;
mod get_threads;
mod older;
mod pages;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub use older::OlderHistory;
pub(crate) use pages::rendering;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .ruma(get_messages::handler)
        .layer(axum::middleware::map_request(direction::add))
        .ruma(get_context::handler)
        .ruma(get_event::handler)
        .ruma(get_event_by_timestamp::handler)
        .ruma(get_relations::all)
        .ruma(get_relations::of_type)
        .ruma(get_relations::of_type_and_event_type)
        .ruma(get_threads::handler)
}
