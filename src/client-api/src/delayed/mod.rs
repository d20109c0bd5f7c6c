//! Events that are sent later, unless somebody cancels them: what ends somebody's part in a call when their app is gone.
//! [MSC4140](https://github.com/matrix-org/matrix-spec-proposals/pull/4140), under its unstable names.
//!
//! A delayed event is allowed or not when it is sent, not when it is asked for. Whoever knows its id may restart, cancel or send it: clients
//! give it to the servers that carry their calls.

mod act;
mod act_in_body;
mod config;
mod deliver;
mod get;
mod list;
mod schedule;
mod schedule_event;
mod timer;

use axum::Router;
use http_kit::RumaRouter;
use serde_json::{Value, json};
use users::delayed::Delayed;

pub use self::config::DelayedConfig;
pub(crate) use self::schedule::{Later, delay_of};
use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .ruma(schedule_event::handler)
        .ruma(list::handler)
        .ruma(get::handler)
        .ruma(act::handler)
        .ruma(act_in_body::handler)
}

/// A delayed event as its user gets it. Two of the fields have a second name, by which clients from before the proposal was accepted know them.
fn describe(id: &str, event: &Delayed) -> Value {
    let mut out = json!({
        "delay_id": id,
        "room_id": event.room_id,
        "type": event.event_type,
        "content": event.content,
        "delay_ms": event.delay_ms,
        "delay": event.delay_ms,
        "delayed_since_ts": event.since_ts,
        "running_since": event.since_ts,
    });
    if let Some(state_key) = &event.state_key {
        out["state_key"] = state_key.as_str().into();
    }
    if let Some(end) = &event.finalised {
        let mut finalised = json!({"finalised_ts": end.ts});
        if let Some(event_id) = &end.event_id {
            finalised["event_id"] = event_id.as_str().into();
        }
        if let Some(error) = &end.error {
            finalised["error"] = error.clone();
        }
        out["finalised"] = finalised;
    }
    out
}
