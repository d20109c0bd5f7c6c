//! The JSON that push gateways get.
//! [`POST /_matrix/push/v1/notify`](https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify).

use bytes::Bytes;
use ruma::push::{HttpPusherData, PushFormat};
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    pushers::PusherRow,
    source::{Detail, Notice},
};

#[derive(Serialize)]
struct Body<'a> {
    notification: Notification<'a>,
}

#[derive(Serialize)]
struct Notification<'a> {
    #[serde(flatten)]
    event: Option<Event<'a>>,
    #[serde(flatten)]
    detail: Option<About<'a>>,
    prio: &'static str,
    counts: Counts,
    devices: [Device<'a>; 1],
}

#[derive(Serialize)]
struct Event<'a> {
    event_id: &'a str,
    room_id: &'a str,
}

#[derive(Serialize)]
struct About<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    sender: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_alias: Option<&'a str>,
    user_is_target: bool,
    content: &'a RawValue,
}

#[derive(Serialize)]
struct Counts {
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<u64>,
}

#[derive(Serialize)]
struct Device<'a> {
    app_id: &'a str,
    pushkey: &'a str,
    /// In seconds.
    pushkey_ts: u64,
    data: Data<'a>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    tweaks: Map<String, Value>,
}

/// What the client gave along, without the URL.
#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'a PushFormat>,
    #[serde(flatten)]
    custom: &'a Map<String, Value>,
}

impl<'a> Device<'a> {
    fn new(row: &'a PusherRow, data: &'a HttpPusherData, tweaks: Map<String, Value>) -> Self {
        let ids = &row.pusher.ids;
        let data = Data { format: data.format.as_ref(), custom: &data.data };
        Self { app_id: &ids.app_id, pushkey: &ids.pushkey, pushkey_ts: row.set_ts / 1000, data, tweaks }
    }
}

impl<'a> About<'a> {
    fn new(notice: &'a Notice, detail: &'a Detail) -> Self {
        Self {
            event_type: &notice.event_type,
            sender: &detail.sender,
            sender_display_name: detail.sender_display_name.as_deref(),
            room_name: detail.room_name.as_deref(),
            room_alias: detail.room_alias.as_deref(),
            user_is_target: detail.user_is_target,
            content: &detail.content,
        }
    }
}

fn bytes(notification: Notification<'_>) -> serde_json::Result<Bytes> {
    serde_json::to_vec(&Body { notification }).map(Bytes::from)
}

/// About an event, with the number of unread messages.
pub(crate) fn of_event(
    row: &PusherRow,
    data: &HttpPusherData,
    notice: &Notice,
    unread: u64,
) -> serde_json::Result<Bytes> {
    let actions = &notice.actions;
    let mut tweaks = actions.custom.as_deref().cloned().unwrap_or_default();
    if let Some(sound) = &actions.sound {
        tweaks.insert("sound".to_owned(), Value::from(&**sound));
    }
    if actions.highlight {
        tweaks.insert("highlight".to_owned(), Value::from(true));
    }
    // What is encrypted may be anything: the phone has to look.
    let urgent = actions.highlight || actions.sound.is_some() || notice.event_type == "m.room.encrypted";
    bytes(Notification {
        event: Some(Event { event_id: &notice.event_id, room_id: notice.room_id.as_str() }),
        detail: notice.detail.as_ref().map(|detail| About::new(notice, detail)),
        prio: if urgent { "high" } else { "low" },
        counts: Counts { unread: Some(unread).filter(|unread| *unread > 0) },
        devices: [Device::new(row, data, tweaks)],
    })
}

/// The number of unread messages alone. Here it is said where it is zero as well: gateways take a number that is missing for one that did not
/// change.
pub(crate) fn of_badge(row: &PusherRow, data: &HttpPusherData, unread: u64) -> serde_json::Result<Bytes> {
    bytes(Notification {
        event: None,
        detail: None,
        prio: "low",
        counts: Counts { unread: Some(unread) },
        devices: [Device::new(row, data, Map::new())],
    })
}
