//! Receipts, typing and presence.
//! [Pushing ephemeral data](https://spec.matrix.org/v1.19/application-service-api/#pushing-ephemeral-data).

use auth::appservices::Registration;
use engine::{RoomNum, UserNum};
use serde_json::{Map, Value, json};
use store::Pos;

use super::{DeliveryError, compose::Draft, mailbox::Mailbox};
use crate::{interest::acts_as, services::Services};

impl Services {
    /// The receipt that was set at a position, where the service is to know of it: others' private ones never.
    pub(super) async fn receipt(
        &self,
        service: (usize, &Registration),
        room: RoomNum,
        pos: Pos,
    ) -> Result<Option<Value>, DeliveryError> {
        let Some(receipt) = self.engine.receipt_at(room, pos).await? else { return Ok(None) };
        let user_id = receipt.row.user_id.as_str();
        if receipt.kind != "m.read" && !acts_as(service.1, user_id) {
            return Ok(None);
        }
        let Some(room) = self.room_if_there(room).await? else { return Ok(None) };
        if !self.follows_now(service, &room).await? {
            return Ok(None);
        }
        let mut data = json!({ "ts": receipt.row.ts });
        if let Some(data) = data.as_object_mut().filter(|_| !receipt.thread.is_empty()) {
            data.insert("thread_id".to_owned(), receipt.thread.clone().into());
        }
        let content = one(&receipt.row.event_id, one(&receipt.kind, one(user_id, data)));
        Ok(Some(json!({ "type": "m.receipt", "room_id": room.id, "content": content })))
    }

    /// Adds what was noted of typing and presence.
    pub(super) async fn add_notes(
        &self,
        service: (usize, &Registration),
        mailbox: &Mailbox,
        draft: &mut Draft,
    ) -> Result<(), DeliveryError> {
        let (typing, presence) = mailbox.take();
        for room in typing {
            if let Some(event) = self.typing(service, mailbox, room).await? {
                draft.push_ephemeral(&event)?;
            }
        }
        for user in presence {
            if let Some(event) = self.presence(service, user).await? {
                draft.push_ephemeral(&event)?;
            }
        }
        Ok(())
    }

    async fn typing(
        &self,
        service: (usize, &Registration),
        mailbox: &Mailbox,
        room: RoomNum,
    ) -> Result<Option<Value>, DeliveryError> {
        let Some(room) = self.room_if_there(room).await? else { return Ok(None) };
        if !self.follows_now(service, &room).await? {
            mailbox.told(room.num, false);
            return Ok(None);
        }
        let mut users = Vec::new();
        for user in self.engine.typing.changed(room.num, None).unwrap_or_default() {
            users.extend(self.user_id(user).await?);
        }
        mailbox.told(room.num, !users.is_empty());
        Ok(Some(json!({ "type": "m.typing", "room_id": room.id, "content": { "user_ids": users } })))
    }

    async fn presence(&self, service: (usize, &Registration), user: UserNum) -> Result<Option<Value>, DeliveryError> {
        let (Some(user_id), Some(now)) = (self.user_id(user).await?, self.users.presence.get(user)) else {
            return Ok(None);
        };
        if !self.knows(service, user, &user_id).await? {
            return Ok(None);
        }
        let mut content = json!({
            "presence": now.state,
            "last_active_ago": now.last_active_ago,
            "currently_active": now.currently_active,
        });
        if let (Some(content), Some(message)) = (content.as_object_mut(), now.status_msg) {
            content.insert("status_msg".to_owned(), message.into());
        }
        Ok(Some(json!({ "type": "m.presence", "sender": user_id, "content": content })))
    }
}

/// An object with one field.
fn one(key: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), value)]))
}
