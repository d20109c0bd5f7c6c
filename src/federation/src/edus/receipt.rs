//! `m.receipt`. [Receipts](https://spec.matrix.org/v1.19/server-server-api/#receipts).

use std::{collections::BTreeMap, sync::Arc};

use engine::{EngineError, NewReceipt, Room};
use ruma::{EventId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Federation;

/// Receipts of one EDU that are looked at: each may be a commit.
const MAX_RECEIPTS: usize = 500;

type Users<'a> = BTreeMap<String, &'a RawValue>;

#[derive(Deserialize)]
struct Kinds<'a> {
    // The only kind that goes from server to server; private ones stay at home.
    #[serde(rename = "m.read", borrow, default)]
    read: Users<'a>,
}

#[derive(Deserialize)]
struct Read {
    event_ids: Vec<String>,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize, Default)]
struct Data {
    ts: Option<u64>,
    thread_id: Option<String>,
}

impl Federation {
    pub(super) async fn take_receipts(&self, origin: &ServerName, content: &RawValue) -> Result<(), EngineError> {
        let Ok(rooms) = serde_json::from_str::<BTreeMap<String, &RawValue>>(content.get()) else { return Ok(()) };
        let mut left = MAX_RECEIPTS;
        for (room_id, kinds) in rooms {
            // What names an unknown room costs as much to look at as a receipt does.
            left = left.saturating_sub(1);
            let Ok(Kinds { read }) = serde_json::from_str::<Kinds<'_>>(kinds.get()) else { continue };
            let Some(room) = self.room_open_to(origin, &room_id).await? else { continue };
            for (user_id, read) in read {
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                if let Ok(read) = serde_json::from_str::<Read>(read.get()) {
                    self.take_receipt(origin, &room, &user_id, read).await?;
                }
            }
        }
        Ok(())
    }

    async fn take_receipt(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        user_id: &str,
        read: Read,
    ) -> Result<(), EngineError> {
        let thread = read.data.thread_id.as_deref().unwrap_or_default();
        let is_thread = thread.is_empty() || thread == "main" || <&EventId>::try_from(thread).is_ok();
        let Some(event_id) = read.event_ids.first().filter(|_| is_thread) else { return Ok(()) };
        let Some(user) = self.member_of(origin, room, user_id).await? else { return Ok(()) };
        // The clock of another server may be ahead; a receipt is never from the future.
        let ts = read.data.ts.map(|ts| ts.min(self.clock.now_ms()));
        let receipt = NewReceipt { user, user_id, kind: "m.read", thread, event_id, ts };
        match self.engine.set_receipt(room, receipt).await {
            Ok(_) | Err(EngineError::UnknownEvent) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
