//! A delayed event becomes an event.

use std::{borrow::Cow, sync::Arc};

use engine::{DELAYED, Membership, NewEvent, Room, TxnKey};
use http_kit::{Appservice, Group, Requester, RequesterInfo};
use ruma::{OwnedEventId, events::TimelineEventType};
use serde_json::{Map, Value};
use users::delayed::{Delayed, Finalising, Held, Outcome};

use crate::{
    ApiError, App,
    access::PATIENCE,
    send::{already_so, is_invitation, without_voucher},
};

/// The user of a delayed event, as they asked for it, and whether they are suspended now.
pub(super) fn requester_of(event: &Delayed, suspended: bool) -> Requester {
    Requester::new(RequesterInfo {
        user_id: event.user_id.clone(),
        user: event.user,
        device_id: None,
        admin: false,
        suspended,
        appservice: event
            .service
            .as_ref()
            .map(|service| Appservice { id: service.id.as_str().into(), rate_limited: service.rate_limited }),
    })
}

impl App {
    /// Sends a delayed event; that it was is said in the event's own commit.
    ///
    /// # Errors
    /// Those of sending it now. It waits as before then.
    pub(super) async fn deliver(&self, held: &Held) -> Result<(), ApiError> {
        let event = &held.event;
        let account = self.users.accounts.get(event.user).await?;
        let requester = requester_of(event, account.is_some_and(|account| account.suspended));
        requester.not_suspended()?;
        let (room, viewer) = self.room_of(&event.room_id, &requester).await?;
        let kind = TimelineEventType::from(event.event_type.as_str());
        let joined = viewer.place.is_some_and(|place| place.membership == Membership::Join);
        let (content, redacts) = content_of(event, &kind, joined);
        self.check_delayed(&requester, &room, (event, &kind), &content).await?;
        let finalising = self.users.delayed.finalising(held).await?;
        let new = NewEvent {
            sender: &event.user_id,
            sender_num: event.user,
            event_type: kind,
            state_key: event.state_key.as_deref(),
            content: &content,
            redacts: redacts.as_deref(),
            origin_server_ts: event.origin_server_ts,
            device: Some(DELAYED),
            txn_id: Some(&held.id),
        };
        let mut writer = self.engine.write(&room).await?;
        if new.state_key.is_some()
            && let Some(event_id) = already_so(&mut writer, &new).await?
        {
            drop(writer);
            return self.delivered_before(held, finalising, event_id).await;
        }
        let event_id = writer.append(new).await?.event_id;
        for op in finalising.ops(Outcome::Sent(event_id)) {
            writer.op(op);
        }
        writer.keep(held.guard());
        Ok(writer.commit().await?)
    }

    /// The room says already what the event would.
    async fn delivered_before(
        &self,
        held: &Held,
        finalising: Finalising,
        event_id: OwnedEventId,
    ) -> Result<(), ApiError> {
        let (mut write, guard) = (self.engine.db.write(), held.guard());
        write.ops(finalising.ops(Outcome::Sent(event_id))).on_done(move |_| drop(guard));
        Ok(write.commit().await?)
    }

    /// What sending it now would be asked for beside the rules of the room.
    async fn check_delayed(
        &self,
        requester: &Requester,
        room: &Arc<Room>,
        (event, kind): (&Delayed, &TimelineEventType),
        content: &str,
    ) -> Result<(), ApiError> {
        let is_member = *kind == TimelineEventType::RoomMember;
        let group = if is_member && is_invitation(content) { Group::Invites } else { Group::Messages };
        self.limits.check(group, requester)?;
        match &event.state_key {
            Some(key) => {
                self.check_state_event(room, &event.user_id, (kind, key), content).await?;
                if is_member {
                    self.engine.knows_member(room, key, PATIENCE).await?;
                }
                Ok(())
            }
            None => {
                let txn = TxnKey { user: event.user, device: DELAYED, path: "" };
                self.check_relation(room, requester, (&event.event_type, content), &txn).await
            }
        }
    }
}

/// What is sent, and what it redacts.
fn content_of<'a>(event: &'a Delayed, kind: &TimelineEventType, joined: bool) -> (Cow<'a, str>, Option<OwnedEventId>) {
    let content = event.content.get();
    match (kind, event.state_key.as_deref()) {
        (TimelineEventType::RoomRedaction, None) => split_target(content),
        (TimelineEventType::RoomMember, Some(key)) if joined && key == event.user_id.as_str() => {
            (without_voucher(content), None)
        }
        _ => (content.into(), None),
    }
}

/// Of a redaction's content, what it redacts by itself: where that stands depends on the room's version.
fn split_target(content: &str) -> (Cow<'_, str>, Option<OwnedEventId>) {
    let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(content) else { return (content.into(), None) };
    let target = fields.remove("redacts");
    match target.as_ref().and_then(Value::as_str).and_then(|id| OwnedEventId::try_from(id).ok()) {
        Some(target) => (Value::Object(fields).to_string().into(), Some(target)),
        None => (content.into(), None),
    }
}
