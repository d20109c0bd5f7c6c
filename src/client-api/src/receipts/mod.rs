//! What was read, and who types. [Receipts](https://spec.matrix.org/v1.19/client-server-api/#receipts),
//! [Read and unread markers](https://spec.matrix.org/v1.19/client-server-api/#read-and-unread-markers),
//! [Typing Notifications](https://spec.matrix.org/v1.19/client-server-api/#typing-notifications).

mod create_receipt;
mod set_read_markers;
mod set_typing;
mod thread;

use std::sync::Arc;

use axum::Router;
use engine::{NewReceipt, Room};
use http_kit::{Requester, RumaRouter};
use serde::Deserialize;
use serde_json::{json, value::to_raw_value};

use crate::{ApiError, App};

/// Room account data that says up to where everything was read.
const FULLY_READ: &str = "m.fully_read";

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(create_receipt::handler).ruma(set_read_markers::handler).ruma(set_typing::handler)
}

impl App {
    /// Sets a receipt of one kind (`m.read` or `m.read.private`); older ones than there are change nothing.
    ///
    /// # Errors
    /// 404 `M_NOT_FOUND` where the event is not in the room, and those of the store.
    async fn receipt(
        &self,
        room: &Arc<Room>,
        requester: &Requester,
        kind: &str,
        thread: &str,
        event_id: &str,
    ) -> Result<(), ApiError> {
        let user_id = requester.user_id.as_str();
        let receipt = NewReceipt { user: requester.user, user_id, kind, thread, event_id, ts: None };
        self.engine.set_receipt(room, receipt).await?;
        Ok(())
    }

    /// Moves the fully-read marker on, never back.
    ///
    /// # Errors
    /// 404 `M_NOT_FOUND` where the event is not in the room, and those of the store.
    async fn fully_read(&self, room: &Room, requester: &Requester, event_id: &str) -> Result<(), ApiError> {
        #[derive(Deserialize)]
        struct Content {
            event_id: String,
        }
        let num = self.engine.find_event(room.num, event_id).await?.ok_or_else(ApiError::no_event)?;
        let old = self.users.account_data.get(requester.user, Some(&room.id), FULLY_READ).await?;
        if let Some(old) = old.and_then(|old| serde_json::from_str::<Content>(old.get()).ok())
            && let Some(old) = self.engine.find_event(room.num, &old.event_id).await?
            && self.engine.event(room.num, old).await?.pos() >= self.engine.event(room.num, num).await?.pos()
        {
            return Ok(());
        }
        let content = to_raw_value(&json!({"event_id": event_id})).map_err(http_kit::MatrixError::internal)?;
        self.users.account_data.set(requester.user, Some(&room.id), FULLY_READ, &content).await?;
        Ok(())
    }
}
