//! What is left to send to a destination that was down. It asks for what it missed itself (`get_missing_events`), once it sees an event
//! that follows what it does not have: the newest of each room, and before it one here and there, are enough.

use std::collections::{BTreeMap, BTreeSet};

use engine::{EngineError, EventNum, EventRow, OUTBOX, Room, RoomNum, ServerNum};
use ruma::{ServerName, UserId};
use store::{Json, Pos};

use super::{
    Outbox, OutboxError,
    stats::add,
    tables::{HEALTH, Health, IN_FLIGHT},
};

/// So many events are sent one by one to a server that comes back.
pub(super) const ALL_SENT: usize = 100;
/// To one that was down for longer, only the newest are sent, however few they are. Milliseconds.
const LONG_DOWN: u64 = 24 * 3600 * 1000;
/// So many events of a room are looked through, from the newest, for those that stand for all.
const LOOKED_THROUGH: usize = 20;
/// Of a room of which much was missed, an event is sent for each so many: servers ask for a gap of a hundred events or so, and
/// leave a larger one until somebody reads back.
const RUNG: EventNum = 50;
/// So many of these, at most.
const RUNGS: usize = 100;
/// Rows deleted in one commit.
const AT_ONCE: usize = 5000;

/// The rows from `newest` on, and those before with no more than [`RUNG`] events between any two where there are such: also where the
/// rows are what was left the last time.
fn ladder(rows: &[(Pos, EventNum)], newest: usize) -> BTreeSet<usize> {
    let mut kept: BTreeSet<usize> = (newest..rows.len()).collect();
    let Some((before, [(_, last), ..])) = rows.split_at_checked(newest) else { return kept };
    let (mut last, most) = (*last, kept.len() + RUNGS);
    let mut older = before.iter().rev().skip(1).map(|(_, num)| *num);
    for (index, (_, num)) in before.iter().enumerate().rev() {
        let next = older.next();
        if kept.len() < most && next.is_none_or(|next| last.abs_diff(next) > RUNG) {
            kept.insert(index);
            last = *num;
        }
    }
    kept
}

impl Outbox {
    /// As [`Outbox::collapse`], without an attempt to send.
    pub(super) async fn collapse_while_down(&self, server: ServerNum) -> Result<(), OutboxError> {
        let (Some(name), Some(Json(health))) = (self.name_of(server).await?, self.db.get(&HEALTH, &server).await?)
        else {
            return Ok(());
        };
        self.collapse(server, &name, &health).await
    }

    /// Deletes the rows that are not worth sending to a server that was down: those of rooms in which it has no members any more, and,
    /// where there are many, all but the newest of each room and some before it. What is in flight stays.
    pub(super) async fn collapse(
        &self,
        server: ServerNum,
        name: &ServerName,
        health: &Health,
    ) -> Result<(), OutboxError> {
        let row = self.db.get(&IN_FLIGHT, &server).await?.map(|row| row.0);
        let in_flight = row.as_ref().and_then(|row| row.pdus.last().copied());
        let (receipts, devices) = row.map(|row| (row.receipts, row.devices)).unwrap_or_default();
        self.bound_receipts(server, &receipts.into_iter().collect()).await?;
        self.bound_device_edus(server, &devices.into_iter().collect()).await?;
        let mut rooms: BTreeMap<RoomNum, Vec<(Pos, EventNum)>> = BTreeMap::new();
        let mut count = 0;
        for ((_, pos), place) in self.db.scan_all(&OUTBOX, &server).await? {
            if in_flight.is_none_or(|last| pos > last) {
                rooms.entry(place.room).or_default().push((pos, place.num));
                count += 1;
            }
        }
        let long = self.clock.now_ms().saturating_sub(health.since) >= LONG_DOWN;
        let newest_only = count > ALL_SENT || long;
        let mut gone: Vec<Pos> = Vec::new();
        for (room, rows) in rooms {
            gone.extend(self.unneeded(room, rows, name, newest_only).await?);
        }
        add(&self.counters.dropped, gone.len());
        for some in gone.chunks(AT_ONCE) {
            let mut write = self.db.write();
            write.ops(some.iter().map(|pos| OUTBOX.delete(&(server, *pos))));
            write.commit().await?;
        }
        Ok(())
    }

    /// Of the rows of one room (in their order), those that need not be sent.
    async fn unneeded(
        &self,
        room: RoomNum,
        rows: Vec<(Pos, EventNum)>,
        name: &ServerName,
        newest_only: bool,
    ) -> Result<Vec<Pos>, OutboxError> {
        let kept = match self.engine.room_by_num(room).await {
            Ok(room) if self.engine.takes_part(&room, name).await? => match newest_only {
                true => ladder(&rows, self.newest(&room, &rows).await?),
                false => return Ok(Vec::new()),
            },
            Ok(room) => self.farewell(&room, &rows, name).await?.into_iter().collect(),
            Err(EngineError::UnknownRoom) => BTreeSet::new(),
            Err(error) => return Err(error.into()),
        };
        let gone = rows.into_iter().enumerate().filter(|(index, _)| !kept.contains(index));
        Ok(gone.map(|(_, (pos, _))| pos).collect())
    }

    /// Where those begin that stand for all: the newest event of a local user follows everything that this server had by then, and
    /// behind it are only events of others that were passed on.
    async fn newest(&self, room: &Room, rows: &[(Pos, EventNum)]) -> Result<usize, OutboxError> {
        for (index, (_, num)) in rows.iter().enumerate().rev().take(LOOKED_THROUGH) {
            if let Some(event) = self.event_if_there(room, *num).await?
                && <&UserId>::try_from(event.sender()).is_ok_and(|sender| self.engine.is_local(sender))
            {
                return Ok(index);
            }
        }
        Ok(rows.len().saturating_sub(LOOKED_THROUGH))
    }

    /// The newest event that is about a user of the server: for users who are in the room no more, that which removed them.
    async fn farewell(
        &self,
        room: &Room,
        rows: &[(Pos, EventNum)],
        name: &ServerName,
    ) -> Result<Option<usize>, OutboxError> {
        for (index, (_, num)) in rows.iter().enumerate().rev().take(LOOKED_THROUGH) {
            let Some(event) = self.event_if_there(room, *num).await? else { continue };
            let about = event
                .state_key()
                .is_some_and(|user| <&UserId>::try_from(&*user).is_ok_and(|user| user.server_name() == name));
            if about && event.event_type() == "m.room.member" {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    async fn event_if_there(&self, room: &Room, num: EventNum) -> Result<Option<EventRow>, OutboxError> {
        match self.engine.event(room.num, num).await {
            Ok(event) => Ok(Some(event)),
            Err(EngineError::UnknownEvent) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(nums: impl IntoIterator<Item = EventNum>) -> Vec<(Pos, EventNum)> {
        nums.into_iter().map(|num| (Pos::from(num), num)).collect()
    }

    fn left(rows: &[(Pos, EventNum)]) -> Vec<(Pos, EventNum)> {
        let kept = ladder(rows, rows.len() - 1);
        rows.iter().enumerate().filter(|(index, _)| kept.contains(index)).map(|(_, row)| *row).collect()
    }

    #[test]
    fn no_gap_grows_too_large_however_often_rows_are_left_out() {
        let mut waiting = rows(1..=1000);
        for end in [1000, 1003, 1040, 1049, 1052, 1300] {
            let newest = waiting.last().unwrap().1;
            waiting.extend(rows(newest + 1..=end));
            waiting = left(&waiting);
            assert_eq!((waiting[0].1, waiting[waiting.len() - 1].1), (1, end));
            assert!(waiting.windows(2).all(|two| two[1].1 - two[0].1 <= RUNG), "{waiting:?}");
            assert!(waiting.len() <= 2 * (end / RUNG) as usize + 2, "{}", waiting.len());
        }
    }

    #[test]
    fn the_ladder_ends_somewhere() {
        let waiting = left(&rows(1..=100_000));
        assert_eq!((waiting.len(), waiting[RUNGS].1), (RUNGS + 1, 100_000));
        assert_eq!(left(&rows([7])), rows([7]));
        assert_eq!(left(&rows([7, 5000])), rows([7, 5000]));
        assert!(ladder(&[], 0).is_empty());
    }
}
