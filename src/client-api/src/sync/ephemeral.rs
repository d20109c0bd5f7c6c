//! Receipts and typing.

use std::collections::BTreeMap;

use engine::Room;
use serde_json::{Map, Value, json};
use store::IdKind;

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
        if query.ephemeral.passes("m.receipt", "") {
            out.extend(self.receipts(room, fresh, window, query).await?);
        }
        if query.ephemeral.passes("m.typing", "") {
            out.extend(self.typing(room, fresh, window).await?);
        }
        Ok(out)
    }

    /// Who is typing, where that has changed.
    pub(super) async fn typing(&self, room: &Room, fresh: bool, window: &Window) -> Result<Option<String>, ApiError> {
        let since = window.typing_after().filter(|_| !fresh);
        let Some(typing) = self.engine.typing.changed(room.num, since) else { return Ok(None) };
        let mut ids = Vec::with_capacity(typing.len());
        for user in typing {
            ids.extend(self.engine.ids.name(IdKind::User, user).await?.map(|id| id.to_string()));
        }
        Ok(Some(json!({"type": "m.typing", "content": {"user_ids": ids}}).to_string()))
    }

    /// The receipts that are new.
    pub(super) async fn receipts(
        &self,
        room: &Room,
        fresh: bool,
        window: &Window,
        query: &RoomQuery<'_>,
    ) -> Result<Option<String>, ApiError> {
        let after = if fresh { 0 } else { window.after() };
        if room.pulse.receipts() <= after {
            return Ok(None);
        }
        let mut content: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for receipt in self.engine.receipts_between(room.num, after, window.to.pos, RECEIPTS).await? {
            if receipt.kind == "m.read.private" && receipt.user != query.requester.user {
                continue;
            }
            let mut data = json!({"ts": receipt.row.ts});
            if !receipt.thread.is_empty() {
                data["thread_id"] = receipt.thread.into();
            }
            let kinds = content.entry(receipt.row.event_id).or_default();
            if let Value::Object(users) = kinds.entry(receipt.kind).or_insert_with(|| json!({})) {
                // There is room for one of each user: the unthreaded one says more than any of a thread.
                let says_more = users.get(&receipt.row.user_id).is_some_and(|other| other.get("thread_id").is_none());
                if !says_more {
                    users.insert(receipt.row.user_id, data);
                }
            }
        }
        Ok((!content.is_empty()).then(|| json!({"type": "m.receipt", "content": content}).to_string()))
    }
}
