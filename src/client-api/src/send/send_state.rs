//! `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`

use axum::extract::State;
use engine::NewEvent;
use http_kit::Ruma;
use ruma::{
    api::client::state::send_state_event::v3::{Request, Response},
    events::TimelineEventType,
};

use crate::{ApiError, App};

pub(super) async fn for_key(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (room, _) = app.room_of(&body.room_id, &requester).await?;
    let event_type = TimelineEventType::from(body.event_type.to_string());
    let content = body.body.json().get();
    app.check_state_event(&room, &event_type, &body.state_key, content).await?;
    let event = NewEvent {
        sender: &requester.user_id,
        sender_num: requester.user,
        event_type,
        state_key: Some(&body.state_key),
        content,
        redacts: None,
        origin_server_ts: body.timestamp.filter(|_| requester.appservice.is_some()).map(|ts| ts.get().into()),
        device: requester.device_id.as_deref().map(ruma::DeviceId::as_str),
        txn_id: None,
    };
    let event_id = app.engine.send(&room, event, None).await?;
    app.after_sending(&room, requester.user);
    Ok(Response::new(event_id))
}
