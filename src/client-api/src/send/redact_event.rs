//! `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`, and what else redacts.

use axum::extract::State;
use engine::{NewEvent, Room, TxnKey};
use http_kit::{Group, MatrixError, Requester, Ruma};
use ruma::{
    EventId, OwnedEventId, RoomId,
    api::client::redact::redact_event::v3::{Request, Response},
    events::TimelineEventType,
};
use serde_json::{Map, Value};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, uri, .. } = request;
    app.limits.check(Group::Messages, &requester)?;
    let content = body.reason.map(|reason| ("reason".to_owned(), reason.into()));
    let redaction = Redaction {
        target: body.event_id,
        content: content.into_iter().collect(),
        txn_id: body.txn_id.as_str(),
        origin_server_ts: None,
    };
    Ok(Response::new(app.redact(&body.room_id, &requester, redaction, uri.path()).await?))
}

/// An event that is to be redacted.
pub(super) struct Redaction<'a> {
    target: OwnedEventId,
    /// The content, without what it redacts: where that stands depends on the room's version.
    content: Map<String, Value>,
    txn_id: &'a str,
    origin_server_ts: Option<u64>,
}

impl<'a> Redaction<'a> {
    /// The redaction with a content that says itself what is redacted.
    ///
    /// # Errors
    /// 400 `M_BAD_JSON`, `M_MISSING_PARAM` and `M_INVALID_PARAM`.
    pub(super) fn of_content(
        content: &str,
        txn_id: &'a str,
        origin_server_ts: Option<u64>,
    ) -> Result<Self, MatrixError> {
        let parsed: Result<Map<String, Value>, _> = serde_json::from_str(content);
        let mut content = parsed.map_err(|error| MatrixError::bad_json(error.to_string()))?;
        let target = content.remove("redacts").ok_or_else(|| MatrixError::missing_param("redacts"))?;
        let target = target.as_str().and_then(|id| EventId::parse(id).ok());
        let target = target.ok_or_else(|| MatrixError::invalid_param("redacts", "not the id of an event"))?;
        Ok(Self { target, content, txn_id, origin_server_ts })
    }
}

impl App {
    /// Redacts an event.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN` and `M_USER_SUSPENDED`, 404 `M_NOT_FOUND`.
    pub(super) async fn redact(
        &self,
        room_id: &RoomId,
        requester: &Requester,
        redaction: Redaction<'_>,
        path: &str,
    ) -> Result<OwnedEventId, ApiError> {
        let (room, _) = self.room_of(room_id, requester).await?;
        self.check_target(&room, requester, &redaction.target).await?;
        let content = Value::Object(redaction.content).to_string();
        let device = requester.device_id.as_deref().map(ruma::DeviceId::as_str).unwrap_or_default();
        let event = NewEvent {
            sender: &requester.user_id,
            sender_num: requester.user,
            event_type: TimelineEventType::RoomRedaction,
            state_key: None,
            content: &content,
            redacts: Some(&redaction.target),
            origin_server_ts: redaction.origin_server_ts,
            device: Some(device),
            txn_id: Some(redaction.txn_id),
        };
        let txn = TxnKey { user: requester.user, device: requester.transaction_scope(), path };
        let event_id = self.engine.send(&room, event, Some(txn)).await?;
        self.after_sending(requester.user);
        Ok(event_id)
    }

    /// Whether there is anything to redact, and whether it is the requester's own where they may redact nothing else.
    async fn check_target(&self, room: &Room, requester: &Requester, target: &EventId) -> Result<(), ApiError> {
        let own = match self.engine.find_event(room.num, target.as_str()).await? {
            Some(num) => self.engine.event(room.num, num).await?.sender() == requester.user_id.as_str(),
            // Where other servers take part, the event may be one that has not come here yet: the redaction then waits for it.
            None if room.info().servers.is_empty() => {
                return Err(MatrixError::not_found("The event to redact is not in this room").into());
            }
            None => false,
        };
        if own { Ok(()) } else { Ok(requester.not_suspended()?) }
    }
}
