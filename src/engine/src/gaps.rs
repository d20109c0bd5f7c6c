//! Where a room's history has gaps: events that are followed, but not here.

use ruma::{EventId, OwnedEventId};
use store::Page;

use crate::{
    engine::{Engine, parse},
    error::EngineError,
    room::Room,
    row::{EventRow, StateFrom},
    tables::{EventNum, GAPS},
    timeline::HistoryPoint,
    writer::RoomWriter,
};

/// Rows of gaps looked at, at most.
const LOOKED_AT: usize = 1000;

/// An event that is not here, though one that is part of the room follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its id.
    pub event_id: OwnedEventId,
    /// The event that follows it.
    pub follower: EventNum,
    /// The place of that event.
    pub point: HistoryPoint,
}

impl Engine {
    /// The gaps in a room's history, the one furthest down first: what to ask other servers for when somebody reads up to there. In
    /// a room with very many gaps not all of them are given.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn gaps(&self, room: &Room) -> Result<Vec<Gap>, EngineError> {
        let rows = self.db.scan_prefix(&GAPS, &room.num, Page::first(LOOKED_AT)).await?;
        let nums: Vec<EventNum> = rows.iter().map(|((_, _, num), ())| *num).collect();
        let mut gaps = Vec::new();
        for (((_, id, follower), ()), (_, row)) in rows.into_iter().zip(self.events(room.num, &nums).await?) {
            if let (Ok(event_id), true) = (OwnedEventId::try_from(id), row.in_room()) {
                gaps.push(Gap { event_id, follower, point: HistoryPoint::before(&row) });
            }
        }
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap.point));
        Ok(gaps)
    }

    /// Whether what came before an event did not come before it in the stream: it was missing then, whether or not it is still.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_behind_gap(&self, room: &Room, row: &EventRow) -> Result<bool, EngineError> {
        // Whoever is let in by another server may follow only what is here.
        match row.state_from() {
            StateFrom::Graph => return Ok(false),
            StateFrom::Anew => return Ok(true),
            StateFrom::Told => {}
        }
        for prev in parse(row, room)?.prev_events {
            match self.find_event(room.num, prev.as_str()).await? {
                Some(num) => {
                    let prev = self.event(room.num, num).await?;
                    if prev.outlier() || prev.is_history() {
                        return Ok(true);
                    }
                }
                None => return Ok(true),
            }
        }
        Ok(false)
    }
}

impl RoomWriter<'_> {
    /// Remembers what an event follows that is not here.
    pub(crate) fn mark_gaps(&mut self, gaps: &[OwnedEventId], follower: EventNum) -> Result<(), EngineError> {
        for id in gaps {
            self.stage(GAPS.put(&(self.room.num, id.to_string(), follower), &()));
        }
        Ok(())
    }

    /// Who follows an event that was not here before.
    pub(crate) async fn followers(&self, event_id: &EventId) -> Result<Vec<EventNum>, EngineError> {
        let prefix = (self.room.num, event_id.to_string());
        let rows = self.engine.db.scan_all(&GAPS, &prefix).await?;
        let mut followers: Vec<EventNum> = rows.into_iter().map(|((_, _, num), ())| num).collect();
        for key in self.head()?.overlay.keys_from(GAPS.keyspace, &GAPS.prefix(&prefix)) {
            followers.push(GAPS.decode_key(key)?.2);
        }
        followers.sort_unstable();
        followers.dedup();
        Ok(followers)
    }

    /// An event is here now. Whether one that is part of the room follows it.
    pub(crate) async fn close_gap(&mut self, event_id: &EventId) -> Result<bool, EngineError> {
        let mut followed = false;
        for follower in self.followers(event_id).await? {
            followed |= self.event_row(follower).await?.in_room();
            self.stage(GAPS.delete(&(self.room.num, event_id.to_string(), follower)));
        }
        Ok(followed)
    }
}
