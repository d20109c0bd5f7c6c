//! Making entries: composed, checked, signed, and followed by a line in words, all in one commit.

use std::{sync::Arc, time::Duration};

use engine::{EngineError, NewEvent, Room, TxnKey};
use http_kit::Requester;
use ledger::{Composed, Context, NewEntry, compose, words};
use ruma::{DeviceId, OwnedEventId, UserId, events::TimelineEventType};
use serde_json::{Value, json};

use crate::{Expenses, OPEN, POINTER, error::RouteError, folds::root_in, people::People, strangers::check_people};

/// How long a request waits for the members of a room that was entered a moment ago.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// An entry that is ready to be signed, with its line in words where the ledger wants one.
pub(crate) struct Ready {
    pub(crate) content: Value,
    line: Option<String>,
}

impl Expenses {
    /// The entry that a draft becomes. Nothing is written.
    pub(crate) async fn prepare(
        &self,
        room: &Room,
        sender: &UserId,
        draft: &NewEntry<'_>,
    ) -> Result<Ready, RouteError> {
        // Who takes part is checked, so all members have to be known.
        self.engine.whole(room, PATIENCE).await?;
        let people = self.people(room).await?;
        let create = self.create_event(room).await?;
        let (uid, today) = (self.uid(), self.today());
        // Nothing is waited for from here on: a snapshot that is held makes whoever brings the fold up to date copy it.
        let folded = self.ledger(room).await?;
        let ledger = &folded.ledger;
        let context =
            Context { create: &create, sender: sender.as_str(), uid: &uid, today: &today, ledger: Some(ledger) };
        let composed = compose(draft, &context)?;
        check_people(draft.content, &composed, &people, ledger)?;
        let lines = ledger.root().is_none_or(|open| open.policies.lines);
        let names = |id: &str| people.name(id);
        let line = lines.then(|| words(&composed.body, sender.as_str(), Some(ledger), &names));
        Ok(Ready { content: composed.content, line })
    }

    async fn create_event(&self, room: &Room) -> Result<String, RouteError> {
        let row = self.engine.current_event(room.num, "m.room.create", "").await?;
        Ok(row.ok_or(EngineError::UnknownRoom)?.event_id().to_owned())
    }

    /// Makes an entry, or finds the one that this request made before.
    pub(crate) async fn add_entry(
        &self,
        room: &Arc<Room>,
        request: Request<'_>,
        draft: &NewEntry<'_>,
    ) -> Result<OwnedEventId, RouteError> {
        match self.sent_before(&request.txn()).await? {
            Some(event_id) => Ok(event_id),
            None => self.make_entry(room, request, draft).await,
        }
    }

    /// Makes the entry of a request that has made none yet, as far as one could see.
    pub(crate) async fn make_entry(
        &self,
        room: &Arc<Room>,
        request: Request<'_>,
        draft: &NewEntry<'_>,
    ) -> Result<OwnedEventId, RouteError> {
        let ready = match self.prepare(room, &request.requester.user_id, draft).await {
            Ok(ready) => ready,
            // The same request may have landed meanwhile, and then there is nothing left to void or no uid left to use.
            Err(error) => return self.sent_before(&request.txn()).await?.ok_or(error),
        };
        let content = ready.content.to_string();
        let mut writer = self.engine.write(room).await?;
        // The same request may have come twice at once: under the lock there is one answer.
        if let Some(event_id) = writer.sent_before(&request.txn()).await? {
            drop(writer);
            return self.settled(event_id).await;
        }
        let entry = writer.append(request.event(draft.kind, None, &content)).await?;
        if let Some(line) = ready.line {
            let line = line_content(&entry.event_id, &line);
            writer.append(request.event("m.room.message", None, &line)).await?;
        }
        writer.record_transaction(&request.txn(), &entry.event_id);
        writer.commit().await?;
        Ok(entry.event_id)
    }

    /// What was sent with a transaction key, once everybody sees it.
    pub(crate) async fn sent_before(&self, txn: &TxnKey<'_>) -> Result<Option<OwnedEventId>, RouteError> {
        match self.engine.sent_with(txn).await? {
            Some(event_id) => Ok(Some(self.settled(event_id).await?)),
            None => Ok(None),
        }
    }

    /// The answer of a request that may still wait for its sync, or whose rows are there while those who go by the newest
    /// position do not look for them yet: no earlier than its own.
    async fn settled(&self, event_id: OwnedEventId) -> Result<OwnedEventId, RouteError> {
        self.engine.db.write().commit().await.map_err(EngineError::from)?;
        Ok(event_id)
    }

    /// The root of a ledger.
    pub(crate) fn compose_root(&self, create: &str, sender: &UserId, content: &Value) -> Result<Composed, RouteError> {
        let (uid, today) = (self.uid(), self.today());
        let context = Context { create, sender: sender.as_str(), uid: &uid, today: &today, ledger: None };
        Ok(compose(&NewEntry { kind: OPEN, content }, &context)?)
    }

    /// Opens a ledger in a room: the root, the state event that names it, and history that late comers can read.
    pub(crate) async fn open(
        &self,
        room: &Arc<Room>,
        request: Request<'_>,
        content: &Value,
    ) -> Result<OwnedEventId, RouteError> {
        if !room.names_events_by_hash() {
            return Err(RouteError::RoomVersion(room.version.clone()));
        }
        if room.info().encrypted {
            return Err(RouteError::Encrypted);
        }
        let create = self.create_event(room).await?;
        let root = self.compose_root(&create, &request.requester.user_id, content)?;
        let people = self.people(room).await?;
        let line = opening_line(&root, request, &people);
        let content = root.content.to_string();

        let mut writer = self.engine.write(room).await?;
        // The same request may have come twice at once: under the lock there is one answer.
        if let Some(event_id) = writer.sent_before(&request.txn()).await? {
            drop(writer);
            return self.settled(event_id).await;
        }
        if writer.state(POINTER, "").await?.is_some_and(|pdu| root_in(pdu.content.get()).is_some()) {
            return Err(RouteError::LedgerExists);
        }
        let root = writer.append(request.event(OPEN, None, &content)).await?;
        let pointer = json!({"ledger": root.event_id}).to_string();
        writer.append(request.event(POINTER, Some(""), &pointer)).await?;
        let visibility = writer.state("m.room.history_visibility", "").await?;
        let shared = room::visibility::of_event(visibility.as_deref());
        if !matches!(shared.as_str(), "shared" | "world_readable") {
            let content = r#"{"history_visibility":"shared"}"#;
            writer.append(request.event("m.room.history_visibility", Some(""), content)).await?;
        }
        if let Some(line) = line {
            let line = line_content(&root.event_id, &line);
            writer.append(request.event("m.room.message", None, &line)).await?;
        }
        writer.record_transaction(&request.txn(), &root.event_id);
        writer.commit().await?;
        Ok(root.event_id)
    }
}

fn opening_line(root: &Composed, request: Request<'_>, people: &People) -> Option<String> {
    let wanted = !matches!(&root.body, ledger::Body::Open(open) if !open.policies.lines);
    let names = |id: &str| people.name(id);
    wanted.then(|| words(&root.body, request.requester.user_id.as_str(), None, &names))
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
