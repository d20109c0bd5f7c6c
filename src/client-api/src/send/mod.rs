//! Sending events. [Sending events to a room](https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room).

mod checks;
mod redact_event;
mod relations;
mod send_message;
mod send_state;

use axum::Router;
use http_kit::{EndpointOptions, RumaRouter};

use crate::{App, room_state::WITHOUT_KEY};

pub(crate) fn router() -> Router<App> {
    let router = Router::new().ruma(send_message::handler).ruma(redact_event::handler).ruma(send_state::for_key);
    let options = EndpointOptions::default();
    WITHOUT_KEY.into_iter().fold(router, |router, path| router.ruma_at(path, options, send_state::for_key))
}
