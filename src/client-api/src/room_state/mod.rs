//! Reading state. [Getting events for a room](https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room).

mod get_state;
mod get_state_event;

use axum::Router;
use http_kit::{EndpointOptions, RumaRouter};

use crate::App;

/// An empty state key may be left out, with or without the slash before it.
pub(crate) const WITHOUT_KEY: [&str; 4] = [
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/",
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}/",
];

pub(crate) fn router() -> Router<App> {
    let router = Router::new().ruma(get_state::handler).ruma(get_state_event::handler);
    let options = EndpointOptions::default();
    WITHOUT_KEY.into_iter().fold(router, |router, path| router.ruma_at(path, options, get_state_event::handler))
}
