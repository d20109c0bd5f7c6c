//! `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`

use axum::extract::State;
use engine::{NewEvent, TxnKey};
use http_kit::{Group, MatrixError, Ruma};
use ruma::{
    api::client::redact::redact_event::v3::{Request, Response},
    events::TimelineEventType,
};
use serde_json::json;

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, uri, .. } = request;
    app.limits.check(Group::Messages, &requester)?;
    let (room, _) = app.room_of(&body.room_id, &requester).await?;
    // Where other servers take part, the event may be one that has not come here yet: the redaction then waits for it.
    if room.info().servers.is_empty() && app.engine.find_event(room.num, body.event_id.as_str()).await?.is_none() {
        return Err(MatrixError::not_found("The event to redact is not in this room").into());
    }
    let content = match &body.reason {
        Some(reason) => json!({"reason": reason}).to_string(),
        None => "{}".to_owned(),
    };
    let device = requester.device_id.as_deref().map(ruma::DeviceId::as_str).unwrap_or_default();
    let event = NewEvent {
        sender: &requester.user_id,
        sender_num: requester.user,
        event_type: TimelineEventType::RoomRedaction,
        state_key: None,
        content: &content,
        redacts: Some(&body.event_id),
        origin_server_ts: None,
        device: Some(device),
        txn_id: Some(body.txn_id.as_str()),
    };
    let txn = TxnKey { user: requester.user, device: requester.transaction_scope(), path: uri.path() };
    let event_id = app.engine.send(&room, event, Some(txn)).await?;
    app.after_sending(requester.user);
    Ok(Response::new(event_id))
}
