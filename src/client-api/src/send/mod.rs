//! Sending events. [Sending events to a room](https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room).

mod checks;
mod redact_event;
mod relations;
mod send_message;
mod send_state;

use axum::Router;
use http_kit::{EndpointOptions, RawJson, RumaRouter};
use ruma::EventId;
use serde_json::json;

pub(crate) use self::send_state::{already_so, is_invitation, without_voucher};
use crate::{App, room_state::WITHOUT_KEY};

pub(crate) fn router() -> Router<App> {
    let router = Router::new().ruma(send_message::handler).ruma(redact_event::handler).ruma(send_state::for_key);
    let options = EndpointOptions::default();
    WITHOUT_KEY.into_iter().fold(router, |router, path| router.ruma_at(path, options, send_state::for_key))
}

/// The answer to who sent an event.
fn sent(event_id: &EventId) -> RawJson {
    RawJson(json!({"event_id": event_id}).to_string().into())
}
