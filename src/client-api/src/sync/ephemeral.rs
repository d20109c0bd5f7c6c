//! Receipts and typing.

use std::collections::BTreeMap;

use engine::{Receipt, Room};
use serde_json::{Map, Value, json};
use store::{IdKind, Pos};

use super::{assemble::Window, section::RoomQuery};
use crate::{ApiError, App};

/// Receipts shown at once, at most: the newest.
const RECEIPTS: usize = 1000;

impl App {
    pub(super) async fn ephemeral(
        &self,
        room: &Room,
        fresh: bool,
        window: &Window,
        query: &RoomQuery<'_>,
    ) -> Result<Vec<String>, ApiError> {
        let mut out = Vec::new();
        if !query.ephemeral.room(&room.id) {
            return Ok(out);
        }
        if query.ephemeral.passes("m.receipt", "") {
            let after = if fresh { 0 } else { window.after() };
            out.extend(self.receipts(room, (after, window.to.pos), query).await?);
        }
        if query.ephemeral.passes("m.typing", "") {
            let since = window.typing_after().filter(|_| !fresh);
            out.extend(self.typing(room, since).await?);
        }
        Ok(out)
    }

    /// Who is typing, where that has changed after `since`; where anybody is, without.
    pub(super) async fn typing(&self, room: &Room, since: Option<u64>) -> Result<Option<String>, ApiError> {
        let Some(typing) = self.engine.typing.changed(room.num, since) else { return Ok(None) };
        let mut ids = Vec::with_capacity(typing.len());
        for user in typing {
            ids.extend(self.engine.ids.name(IdKind::User, user).await?.map(|id| id.to_string()));
        }
        Ok(Some(json!({"type": "m.typing", "content": {"user_ids": ids}}).to_string()))
    }

    /// The receipts of a stretch as events: one, and more only where somebody has several on one event, each for a thread.
    pub(super) async fn receipts(
        &self,
        room: &Room,
        (after, to): (Pos, Pos),
        query: &RoomQuery<'_>,
    ) -> Result<Vec<String>, ApiError> {
        if room.pulse.receipts() <= after {
            return Ok(Vec::new());
        }
        let mut receipts = self.engine.receipts_between(room.num, after, to, RECEIPTS).await?;
        let own = query.requester.user;
        if receipts.len() == RECEIPTS {
            // Without their own, clients would take for unread what was read.
            receipts.retain(|receipt| receipt.user != own);
            let all = self.engine.receipts_of(room.num, own).await?;
            receipts.extend(all.into_iter().filter(|receipt| receipt.row.pos > after && receipt.row.pos <= to));
        }
        receipts.retain(|receipt| receipt.kind != "m.read.private" || receipt.user == own);
        // The unthreaded one says more than any of a thread: it is in the first event.
        receipts.sort_by_key(|receipt| !receipt.thread.is_empty());
        let mut events: Vec<Content> = Vec::new();
        for receipt in receipts {
            add(&mut events, receipt);
        }
        Ok(events.iter().map(|content| json!({"type": "m.receipt", "content": content}).to_string()).collect())
    }
}

/// Receipts by event, then by kind, then by user.
type Content = BTreeMap<String, BTreeMap<String, Map<String, Value>>>;

/// Adds a receipt to the first event that has room for it.
fn add(events: &mut Vec<Content>, receipt: Receipt) {
    let Receipt { kind, thread, row, .. } = receipt;
    let mut data = json!({"ts": row.ts});
    if !thread.is_empty() {
        data["thread_id"] = thread.into();
    }
    let is_free = |content: &Content| {
        let users = content.get(&row.event_id).and_then(|kinds| kinds.get(&kind));
        users.is_none_or(|users| !users.contains_key(&row.user_id))
    };
    let index = events.iter().position(is_free).unwrap_or(events.len());
    if index == events.len() {
        events.push(Content::new());
    }
    if let Some(content) = events.get_mut(index) {
        content.entry(row.event_id).or_default().entry(kind).or_default().insert(row.user_id, data);
    }
}
