//! Making entries: composed, checked, signed, and followed by a line in words, all in one commit.

use std::sync::Arc;

use engine::{EngineError, NewEvent, Room, TxnKey};
use http_kit::Requester;
use ledger::{Body, Composed, Context, Ledger, NewEntry, compose, words};
use ruma::{DeviceId, OwnedEventId, events::TimelineEventType};
use serde_json::{Value, json};

use crate::{
    Expenses, OPEN, POINTER,
    error::RouteError,
    people::{People, check_people},
};

/// What identifies a writing request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) requester: &'a Requester,
    /// The path, transaction id included.
    pub(crate) path: &'a str,
}

impl<'a> Request<'a> {
    pub(crate) fn device(&self) -> &'a str {
        self.requester.device_id.as_deref().map(DeviceId::as_str).unwrap_or_default()
    }

    pub(crate) fn txn(&self) -> TxnKey<'a> {
        TxnKey { user: self.requester.user, device: self.device(), path: self.path }
    }

    fn event(&self, kind: &str, state_key: Option<&'a str>, content: &'a str) -> NewEvent<'a> {
        NewEvent {
            sender: &self.requester.user_id,
            sender_num: self.requester.user,
            event_type: TimelineEventType::from(kind),
            state_key,
            content,
            redacts: None,
            origin_server_ts: None,
            device: Some(self.device()),
            txn_id: None,
        }
    }
}

impl Expenses {
    /// The entry that a draft becomes. Nothing is written.
    pub(crate) async fn compose(
        &self,
        room: &Room,
        requester: &Requester,
        ledger: &Ledger,
        people: &People,
        draft: &NewEntry<'_>,
    ) -> Result<Composed, RouteError> {
        let create = self.create_event(room).await?;
        let context = Context {
            create: &create,
            sender: requester.user_id.as_str(),
            uid: &self.uid(),
            today: &self.today(),
            ledger: Some(ledger),
        };
        let composed = compose(draft, &context)?;
        // Who left can still be paid back, and pay.
        let settling = matches!(composed.body, Body::Settlement(_));
        let known = |who: &str| settling && !ledger.net(who).is_empty() || !ledger::ids::has_account(who);
        check_people(&composed.content, people, &known)?;
        Ok(composed)
    }

    pub(crate) async fn create_event(&self, room: &Room) -> Result<String, RouteError> {
        let row = self.engine.current_event(room.num, "m.room.create", "").await?;
        Ok(row.ok_or(EngineError::UnknownRoom)?.event_id().to_owned())
    }

    /// Makes an entry, or finds the one that this request made before.
    pub(crate) async fn add_entry(
        &self,
        room: &Arc<Room>,
        request: Request<'_>,
        kind: &str,
        content: &Value,
    ) -> Result<OwnedEventId, RouteError> {
        if let Some(event_id) = self.made_before(room, request).await? {
            return Ok(event_id);
        }
        let people = self.people(room).await?;
        let (content, line) = {
            let folded = self.ledger(room).await?;
            let draft = NewEntry { kind, content };
            let composed = self.compose(room, request.requester, &folded.ledger, &people, &draft).await?;
            let lines = folded.ledger.root().is_none_or(|open| open.policies.lines);
            let names = |id: &str| people.name(id);
            let line = lines
                .then(|| words(&composed.body, request.requester.user_id.as_str(), Some(&folded.ledger), &names));
            (composed.content.to_string(), line)
        };
        let mut writer = self.engine.write(room).await?;
        // The same request may have come twice at once: under the lock there is one answer.
        if let Some(event_id) = writer.sent_before(&request.txn()).await? {
            drop(writer);
            self.engine.db.write().commit().await.map_err(EngineError::from)?;
            return Ok(event_id);
        }
        let entry = writer.append(request.event(kind, None, &content)).await?;
        if let Some(line) = line {
            let line = line_content(&entry.event_id, &line);
            writer.append(request.event("m.room.message", None, &line)).await?;
        }
        writer.record_transaction(&request.txn(), &entry.event_id);
        writer.commit().await?;
        Ok(entry.event_id)
    }

    async fn made_before(&self, room: &Arc<Room>, request: Request<'_>) -> Result<Option<OwnedEventId>, RouteError> {
        let writer = self.engine.write(room).await?;
        let found = writer.sent_before(&request.txn()).await?;
        drop(writer);
        if found.is_some() {
            self.engine.db.write().commit().await.map_err(EngineError::from)?;
        }
        Ok(found)
    }

    /// Opens a ledger in a room: the root, the state event that names it, and history that late comers can read.
    pub(crate) async fn open(
        &self,
        room: &Arc<Room>,
        request: Request<'_>,
        content: &Value,
    ) -> Result<OwnedEventId, RouteError> {
        if room.info().encrypted {
            return Err(RouteError::Encrypted);
        }
        let create = self.create_event(room).await?;
        let context = Context {
            create: &create,
            sender: request.requester.user_id.as_str(),
            uid: &self.uid(),
            today: &self.today(),
            ledger: None,
        };
        let composed = compose(&NewEntry { kind: OPEN, content }, &context)?;
        let people = self.people(room).await?;
        let names = |id: &str| people.name(id);
        let line = words(&composed.body, request.requester.user_id.as_str(), None, &names);
        let lines = !matches!(&composed.body, Body::Open(open) if !open.policies.lines);
        let root_content = composed.content.to_string();

        let mut writer = self.engine.write(room).await?;
        if let Some(event_id) = writer.sent_before(&request.txn()).await? {
            drop(writer);
            self.engine.db.write().commit().await.map_err(EngineError::from)?;
            return Ok(event_id);
        }
        if writer.state(POINTER, "").await?.is_some_and(|pdu| pdu.content.get() != "{}") {
            return Err(RouteError::LedgerExists);
        }
        let root = writer.append(request.event(OPEN, None, &root_content)).await?;
        let pointer = json!({"ledger": root.event_id}).to_string();
        writer.append(request.event(POINTER, Some(""), &pointer)).await?;
        let visibility = writer.state("m.room.history_visibility", "").await?;
        let shared = room::visibility::of_event(visibility.as_deref());
        if !matches!(shared.as_str(), "shared" | "world_readable") {
            let content = r#"{"history_visibility":"shared"}"#;
            writer.append(request.event("m.room.history_visibility", Some(""), content)).await?;
        }
        if lines {
            let line = line_content(&root.event_id, &line);
            writer.append(request.event("m.room.message", None, &line)).await?;
        }
        writer.record_transaction(&request.txn(), &root.event_id);
        writer.commit().await?;
        Ok(root.event_id)
    }
}

/// The line in words, as a stock client shows it.
fn line_content(entry: &OwnedEventId, line: &str) -> String {
    json!({
        "msgtype": "m.text",
        "body": line,
        "m.relates_to": {"rel_type": "m.reference", "event_id": entry},
        // Mentions nobody: that money is owed is for the room to see, not an alarm.
        "m.mentions": {},
    })
    .to_string()
}
