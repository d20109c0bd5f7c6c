//! What is left to send to a destination that was down. It asks for what it missed itself (`get_missing_events`, `backfill`), once it
//! sees an event that follows what it does not have: the newest of each room are enough.

use std::collections::BTreeMap;

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
/// Rows deleted in one commit.
const AT_ONCE: usize = 5000;

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
    /// where there are many, all but the newest of each room. What is in flight stays.
    pub(super) async fn collapse(
        &self,
        server: ServerNum,
        name: &ServerName,
        health: &Health,
    ) -> Result<(), OutboxError> {
        let in_flight = self.db.get(&IN_FLIGHT, &server).await?.and_then(|row| row.0.pdus.last().map(|pdu| pdu.0));
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
        let all = 0..rows.len();
        let kept = match self.engine.room_by_num(room).await {
            Ok(room) if self.engine.takes_part(&room, name).await? => match newest_only {
                true => self.newest(&room, &rows).await?..rows.len(),
                false => all,
            },
            Ok(room) => self.farewell(&room, &rows, name).await?.map_or(0..0, |at| at..at + 1),
            Err(EngineError::UnknownRoom) => 0..0,
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
