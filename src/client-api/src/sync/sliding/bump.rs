//! When something happened in a room that lifts it in a list: what people say, not who comes and goes.

use engine::{Direction, EventNum, Room, RoomNum};
use quick_cache::sync::Cache;
use store::Pos;

use crate::{ApiError, App};

/// Events of these types lift a room.
const TYPES: [&str; 12] = [
    "\"m.room.create\"",
    "\"m.room.message\"",
    "\"m.room.encrypted\"",
    "\"m.sticker\"",
    "\"m.call.invite\"",
    "\"m.poll.start\"",
    "\"org.matrix.msc3381.poll.start\"",
    "\"m.beacon_info\"",
    "\"org.matrix.msc3672.beacon_info\"",
    "\"com.cliquepay.expense\"",
    "\"com.cliquepay.settlement\"",
    "\"com.cliquepay.amend\"",
];
/// Rooms remembered, at most.
const KEPT: usize = 100_000;
/// Events looked at in one go, and at most.
const PAGE: usize = 50;
const LOOKED_AT: usize = 500;

/// By room: up to where it was looked at, and the newest event found.
pub(in crate::sync) struct Bumps(Cache<RoomNum, (Pos, Pos)>);

impl Default for Bumps {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl App {
    /// The position of the newest event of a room that lifts it; 0 where there is none among the newest ones.
    pub(super) async fn bump_stamp(&self, room: &Room) -> Result<Pos, ApiError> {
        let newest = room.pulse.timeline();
        let (seen, found) = self.sync.bumps.0.get(&room.num).unwrap_or_default();
        if seen >= newest {
            return Ok(found);
        }
        let (mut end, mut looked) = (newest, 0);
        while looked < LOOKED_AT {
            let page = self.engine.stream(room.num, seen, end, PAGE, Direction::Backward).await?;
            let nums: Vec<EventNum> = page.iter().map(|(_, num)| *num).collect();
            let rows = self.engine.events(room.num, &nums).await?;
            if let Some((_, row)) = rows.iter().find(|(_, row)| TYPES.contains(&row.type_json())) {
                self.sync.bumps.0.insert(room.num, (newest, row.pos()));
                return Ok(row.pos());
            }
            looked += page.len();
            match page.last().filter(|_| page.len() == PAGE) {
                Some((first, _)) => end = first.saturating_sub(1),
                None => break,
            }
        }
        self.sync.bumps.0.insert(room.num, (newest, found));
        Ok(found)
    }
}
