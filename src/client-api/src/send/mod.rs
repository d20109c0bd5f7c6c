//! Sending events. [Sending events to a room](https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room).

mod checks;
mod redact_event;
mod send_message;
mod send_state;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(send_message::handler).ruma(redact_event::handler).ruma(send_state::for_key)
}
