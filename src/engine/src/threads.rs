//! Threads of a room, the one with the newest reply first.
//! [Threading](https://spec.matrix.org/v1.19/client-server-api/#threading).

use std::collections::HashSet;

use bytes::Bytes;
use ruma::{EventId, OwnedUserId, UserId};
use store::{Page, Value};

use crate::{
    engine::Engine,
    error::EngineError,
    room::Room,
    tables::{RELATIONS, RoomNum, THREAD_ENDS, THREAD_ORDER},
    timeline::{HistoryPoint, Viewer},
    writer::RoomWriter,
};

/// The relation that makes a thread.
const THREAD: &str = "m.thread";
/// Replies looked at to tell whether somebody takes part, at most.
const LOOKED_AT: usize = 1000;

impl Value for HistoryPoint {
    fn encode(&self) -> Bytes {
        Bytes::from([self.depth.to_be_bytes(), self.arrival.to_be_bytes()].concat())
    }

    fn decode(bytes: Bytes) -> Result<Self, String> {
        let (depth, arrival) = bytes.split_first_chunk::<8>().ok_or("wrong length")?;
        let arrival = arrival.try_into().map_err(|_| "wrong length".to_owned())?;
        Ok(Self { depth: i64::from_be_bytes(*depth), arrival: i64::from_be_bytes(arrival) })
    }
}

impl RoomWriter<'_> {
    /// Moves a thread to the place of its new reply.
    pub(crate) async fn mark_thread(&mut self, kind: &str, root: &str, reply: HistoryPoint) -> Result<(), EngineError> {
        let Some(target) = <&EventId>::try_from(root).ok().filter(|_| kind == THREAD) else { return Ok(()) };
        // A root that is not here cannot be shown; one that relates to something is none.
        let Some(num) = self.find(target).await? else { return Ok(()) };
        if self.event_row(num).await?.relation().is_some() {
            return Ok(());
        }
        let room = self.room.num;
        let key = (room, root.to_owned());
        let before = self.head()?.overlay.get(&self.engine.db, &THREAD_ENDS, &key).await?;
        if before.is_some_and(|before| before >= reply) {
            return Ok(());
        }
        let mut ops = vec![
            THREAD_ENDS.put(&key, &reply),
            THREAD_ORDER.put(&(room, reply.depth, reply.arrival), &root.to_owned()),
        ];
        ops.extend(before.map(|before| THREAD_ORDER.delete(&(room, before.depth, before.arrival))));
        for op in ops {
            self.head_mut()?.overlay.stage(&op);
            self.op(op);
        }
        Ok(())
    }
}

impl Engine {
    /// Roots of threads whose newest reply comes before a point, newest first, with the places of those replies.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn threads(
        &self,
        room: RoomNum,
        before: HistoryPoint,
        limit: usize,
    ) -> Result<Vec<(HistoryPoint, String)>, EngineError> {
        let range = ((room, i64::MIN, i64::MIN), (room, before.depth, before.arrival));
        let rows = self.db.scan(&THREAD_ORDER, &range.0, &range.1, Page::last(limit)).await?;
        Ok(rows.into_iter().map(|((_, depth, arrival), root)| (HistoryPoint { depth, arrival }, root)).collect())
    }

    /// Whether a user replied in a thread; `None` where all its replies were redacted, or are of those who are ignored.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn replied_in(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        root: &str,
        ignored: &HashSet<OwnedUserId>,
    ) -> Result<Option<bool>, EngineError> {
        let prefix = (room.num, root.to_owned());
        let rows = self.db.scan_prefix(&RELATIONS, &prefix, Page::last(LOOKED_AT)).await?;
        let nums: Vec<_> = rows.into_iter().filter(|(_, row)| row.kind == THREAD).map(|(_, row)| row.num).collect();
        let mut replied = None;
        for (_, row) in self.events(room.num, &nums).await? {
            let unwanted = <&UserId>::try_from(row.sender()).is_ok_and(|sender| ignored.contains(sender));
            if !row.is_redacted() && !unwanted {
                replied = Some(replied == Some(true) || row.sender_num() == viewer.num);
            }
        }
        Ok(replied)
    }
}
