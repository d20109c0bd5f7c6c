//! Finding events by when they were sent.
//! [Jumping to a date](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event).
//!
//! The index is made when somebody asks, from the events that came since it was last made: sending costs nothing more for it.

use futures::future::BoxFuture;
use store::{Keyspace, Page, Table};

use crate::{
    engine::Engine,
    error::EngineError,
    room::Room,
    row::{EventRow, Verdict},
    tables::{EVENTS, EventNum, RoomNum},
    timeline::{Direction, HistoryPoint},
};

/// Events by `origin_server_ts`.
const BY_TIME: Table<(RoomNum, u64, EventNum), ()> = Table::new(Keyspace::Index, 72, "by_time");
/// The last event of each room that is in [`BY_TIME`].
const BY_TIME_UP_TO: Table<RoomNum, EventNum> = Table::new(Keyspace::Index, 73, "by_time_up_to");

/// Events indexed in one commit.
const BATCH: usize = 2000;
/// Events read at once.
const PAGE: usize = 100;
/// Events looked at to find one that may be seen, at most.
const LOOKED_AT: usize = 2000;

/// Whether an event may be shown to whoever asks.
pub type MaySee<'a> = &'a (dyn Fn(EventRow) -> BoxFuture<'a, Result<bool, EngineError>> + Send + Sync);

impl Engine {
    /// The event of a room's history that was sent closest to a time, in Unix milliseconds: at it or later (`Forward`), at it or
    /// earlier (`Backward`). Of those sent at the same time, the first in the room's history (`Forward`) or the last.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn event_near(
        &self,
        room: &Room,
        ts: u64,
        direction: Direction,
        may_see: MaySee<'_>,
    ) -> Result<Option<(EventNum, EventRow)>, EngineError> {
        self.index_by_time(room.num).await?;
        let reverse = direction == Direction::Backward;
        let (mut low, mut high) = match direction {
            Direction::Forward => ((room.num, ts, 0), (room.num, u64::MAX, EventNum::MAX)),
            Direction::Backward => ((room.num, 0, 0), (room.num, ts, EventNum::MAX)),
        };
        let mut best: Option<(EventNum, EventRow)> = None;
        let mut looked_at = 0;
        while looked_at < LOOKED_AT {
            let keys = self.db.scan(&BY_TIME, &low, &high, Page { limit: PAGE, reverse }).await?;
            for ((_, at, num), ()) in &keys {
                if best.as_ref().is_some_and(|(_, row)| row.origin_server_ts() != *at) {
                    return Ok(best);
                }
                let row = self.event(room.num, *num).await?;
                if row.verdict() != Verdict::Accepted || row.outlier() || !may_see(row.clone()).await? {
                    continue;
                }
                let better = best.as_ref().is_none_or(|(_, other)| {
                    let (this, that) = (HistoryPoint::before(&row), HistoryPoint::before(other));
                    if reverse { this > that } else { this < that }
                });
                if better {
                    best = Some((*num, row));
                }
            }
            looked_at += keys.len();
            let Some(((_, at, num), ())) = keys.last().filter(|_| keys.len() == PAGE) else { break };
            match direction {
                Direction::Forward => low = (room.num, *at, num.saturating_add(1)),
                Direction::Backward => high = (room.num, *at, *num),
            }
        }
        Ok(best)
    }

    /// Brings the index up to the newest event. What is in no order yet is in the index too: it may get its place later.
    async fn index_by_time(&self, room: RoomNum) -> Result<(), EngineError> {
        loop {
            let done = self.db.get(&BY_TIME_UP_TO, &room).await?.unwrap_or(0);
            let from = (room, done.saturating_add(1));
            let rows = self.db.scan(&EVENTS, &from, &(room, EventNum::MAX), Page::first(BATCH)).await?;
            let Some(((_, last), _)) = rows.last() else { return Ok(()) };
            let mut write = self.db.write();
            for ((_, num), row) in &rows {
                write.put(&BY_TIME, &(room, row.origin_server_ts(), *num), &());
            }
            write.put(&BY_TIME_UP_TO, &room, last);
            write.commit().await?;
            if rows.len() < BATCH {
                return Ok(());
            }
        }
    }

    /// Whether the room's history here goes back to its beginning.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn has_beginning(&self, room: &Room) -> Result<bool, EngineError> {
        let first = self.history(room.num, HistoryPoint::START, None, 1, Direction::Forward).await?;
        let Some((_, num)) = first.first() else { return Ok(false) };
        Ok(self.event(room.num, *num).await?.type_json() == "\"m.room.create\"")
    }
}
