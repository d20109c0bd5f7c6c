//! `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`

use axum::extract::State;
use engine::{NewEvent, TxnKey};
use http_kit::{Group, RawJson, Ruma};
use ruma::{api::client::message::send_message_event::v3::Request, events::TimelineEventType};

use super::{redact_event::Redaction, sent};
use crate::{
    ApiError, App,
    delayed::{Later, delay_of},
};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let delay = delay_of(&request)?;
    let Ruma { body, requester, uri, .. } = request;
    if let Some(delay_ms) = delay {
        let later = Later {
            room_id: &body.room_id,
            event_type: body.event_type.to_string(),
            state_key: None,
            content: body.body.json(),
            delay_ms,
            ts: body.timestamp.map(|ts| ts.get().into()),
            path: Some(uri.path()),
            too_long: "M_UNKNOWN",
        };
        return app.send_later(&requester, later).await;
    }
    app.limits.check(Group::Messages, &requester)?;
    let event_type = TimelineEventType::from(body.event_type.to_string());
    let origin_server_ts = body.timestamp.filter(|_| requester.appservice.is_some()).map(|ts| ts.get().into());
    if event_type == TimelineEventType::RoomRedaction {
        let redaction = Redaction::of_content(body.body.json().get(), body.txn_id.as_str(), origin_server_ts)?;
        return Ok(sent(&app.redact(&body.room_id, &requester, redaction, uri.path()).await?));
    }
    requester.not_suspended()?;
    let room = match app.engine.room(&body.room_id).await {
        Err(engine::EngineError::UnknownRoom) => return Err(ApiError::not_in_room()),
        other => other?,
    };
    let (kind, content) = (event_type.to_string(), body.body.json().get());
    let txn = TxnKey { user: requester.user, device: requester.transaction_scope(), path: uri.path() };
    app.check_relation(&room, &requester, (&kind, content), &txn).await?;
    let device = requester.device_id.as_deref().map(ruma::DeviceId::as_str).unwrap_or_default();
    let event = NewEvent {
        sender: &requester.user_id,
        sender_num: requester.user,
        event_type,
        state_key: None,
        content,
        redacts: None,
        origin_server_ts,
        device: Some(device),
        txn_id: Some(body.txn_id.as_str()),
    };
    let event_id = app.engine.send(&room, event, Some(txn)).await?;
    app.after_sending(requester.user);
    Ok(sent(&event_id))
}
