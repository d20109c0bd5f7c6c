//! Reading events in order, and who may see them.

use ruma::UserId;
use store::{Page, Pos};

use crate::{
    engine::Engine,
    error::EngineError,
    room::Room,
    row::{EventRow, Visibility},
    state::membership_in,
    tables::{Arrival, Depth, EventNum, HISTORY, RoomNum, STREAM, UserNum},
    user_rooms::{Membership, UserRoom},
};

/// Events that are looked at to find the deepest one of a time that is past.
const DEEPEST_OF: usize = 100;

/// A point in a room's history: just before the event with this depth and arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryPoint {
    /// See [`Depth`].
    pub depth: Depth,
    /// See [`Arrival`].
    pub arrival: Arrival,
}

impl HistoryPoint {
    /// Before everything.
    pub const START: Self = Self { depth: Depth::MIN, arrival: Arrival::MIN };
    /// Behind everything.
    pub const END: Self = Self { depth: Depth::MAX, arrival: Arrival::MAX };

    /// Just before an event.
    pub fn before(row: &EventRow) -> Self {
        Self { depth: row.depth(), arrival: row.arrival() }
    }

    /// Behind every event of a depth.
    pub const fn below(depth: Depth) -> Self {
        Self { depth, arrival: Arrival::MAX }
    }

    /// Just behind an event.
    pub fn after(row: &EventRow) -> Self {
        Self { depth: row.depth(), arrival: row.arrival().saturating_add(1) }
    }
}

/// Which way to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Newest first.
    Backward,
    /// Oldest first.
    Forward,
}

/// Who is looking.
#[derive(Debug, Clone)]
pub struct Viewer<'a> {
    /// The user.
    pub user_id: &'a UserId,
    /// The user's number.
    pub num: UserNum,
    /// Where the user stands in the room.
    pub place: Option<UserRoom>,
}

impl Engine {
    /// A user as a viewer of a room.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn viewer<'a>(
        &self,
        room: RoomNum,
        user_id: &'a UserId,
        num: UserNum,
    ) -> Result<Viewer<'a>, EngineError> {
        Ok(Viewer { user_id, num, place: self.user_rooms().get(num, room).await? })
    }

    /// Events by the order in which this server saw them: after one position, up to another, at most `limit` from the
    /// end that the direction starts at.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stream(
        &self,
        room: RoomNum,
        after: Pos,
        to: Pos,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Pos, EventNum)>, EngineError> {
        if let Some(mut recent) = self.loaded(room).and_then(|room| room.recent(after, to)) {
            if direction == Direction::Backward {
                recent.reverse();
            }
            recent.truncate(limit);
            return Ok(recent);
        }
        let page = Page { limit, reverse: direction == Direction::Backward };
        let rows = self.db.scan(&STREAM, &(room, after.saturating_add(1)), &(room, to.saturating_add(1)), page).await?;
        Ok(rows.into_iter().map(|((_, pos), num)| (pos, num)).collect())
    }

    /// Events by the order of the room's history, from a point, at most `limit`, no further than `to`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn history(
        &self,
        room: RoomNum,
        from: HistoryPoint,
        to: Option<HistoryPoint>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(HistoryPoint, EventNum)>, EngineError> {
        let (low, high) = match direction {
            Direction::Backward => (to.unwrap_or(HistoryPoint::START), from),
            Direction::Forward => (from, to.unwrap_or(HistoryPoint::END)),
        };
        let page = Page { limit, reverse: direction == Direction::Backward };
        let range = ((room, low.depth, low.arrival), (room, high.depth, high.arrival));
        let rows = self.db.scan(&HISTORY, &range.0, &range.1, page).await?;
        Ok(rows.into_iter().map(|((_, depth, arrival), num)| (HistoryPoint { depth, arrival }, num)).collect())
    }

    /// The point in history just behind the last event up to a stream position.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn point_at(&self, room: RoomNum, pos: Pos) -> Result<HistoryPoint, EngineError> {
        match self.stream(room, 0, pos, 1, Direction::Backward).await?.first() {
            Some((_, num)) => Ok(HistoryPoint::after(&self.event(room, *num).await?)),
            None => Ok(HistoryPoint::START),
        }
    }

    /// The point behind the deepest event up to a stream position; where many came since, as the last of those before it tell.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn deepest_at(&self, room: &Room, pos: Pos) -> Result<HistoryPoint, EngineError> {
        if room.pulse.timeline() <= pos {
            return Ok(HistoryPoint::below(room.pulse.deepest()));
        }
        let last = self.stream(room.num, 0, pos, DEEPEST_OF, Direction::Backward).await?;
        let nums: Vec<EventNum> = last.into_iter().map(|(_, num)| num).collect();
        let deepest = self.events(room.num, &nums).await?.iter().map(|(_, row)| row.depth()).max();
        Ok(deepest.map_or(HistoryPoint::START, HistoryPoint::below))
    }

    /// Whether a user may see an event.
    /// [Room history visibility](https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility).
    ///
    /// # Errors
    /// Those of the store.
    pub async fn can_see(&self, room: RoomNum, viewer: &Viewer<'_>, row: &EventRow) -> Result<bool, EngineError> {
        if !row.in_room() {
            return Ok(false);
        }
        if row.visibility() == Visibility::WorldReadable {
            return Ok(true);
        }
        let Some(place) = viewer.place else { return Ok(false) };
        if place.membership == Membership::Join && !row.is_history() && row.pos() > place.since {
            return Ok(true);
        }
        // Joined at some time at or after the event: that is now, or until the membership ended.
        let joined_since = place.membership == Membership::Join || self.before_leaving(room, &place, row).await?;
        if row.visibility() == Visibility::Shared && joined_since {
            return Ok(true);
        }
        // Nobody's own membership is a secret to them: an invitation, its refusal, a ban.
        if row.type_json() == "\"m.room.member\"" && row.state_key().as_deref() == Some(viewer.user_id.as_str()) {
            return Ok(true);
        }
        Ok(match self.membership_at(room, row, viewer.user_id.as_str()).await? {
            Membership::Join => true,
            Membership::Invite => row.visibility() == Visibility::Invited,
            _ => false,
        })
    }

    /// Whether an event came before the end of a membership.
    async fn before_leaving(&self, room: RoomNum, place: &UserRoom, row: &EventRow) -> Result<bool, EngineError> {
        if !row.is_history() || place.left == 0 || place.num == 0 {
            return Ok(!row.is_history() && row.pos() <= place.left);
        }
        // When it got here says nothing of when it happened.
        Ok(row.depth() < self.event(room, place.num).await?.depth())
    }

    /// The user's membership at an event, for `unsigned`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn membership_seen(
        &self,
        room: RoomNum,
        viewer: &Viewer<'_>,
        row: &EventRow,
    ) -> Result<Membership, EngineError> {
        if row.type_json() == "\"m.room.member\"" && row.state_key().as_deref() == Some(viewer.user_id.as_str()) {
            return Ok(membership_in(row.content()));
        }
        match viewer.place {
            Some(place) if !row.is_history() && row.pos() > place.since => Ok(place.membership),
            _ => self.membership_at(room, row, viewer.user_id.as_str()).await,
        }
    }

    /// Reads the events of a list and leaves out those that the user may not see.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn visible_events(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        nums: &[EventNum],
    ) -> Result<Vec<(EventNum, EventRow)>, EngineError> {
        let mut out = Vec::with_capacity(nums.len());
        for (num, row) in self.events(room.num, nums).await? {
            if self.can_see(room.num, viewer, &row).await? {
                out.push((num, row));
            }
        }
        Ok(out)
    }

    /// An event of a room by its id, where the user may see it.
    ///
    /// # Errors
    /// [`EngineError::UnknownEvent`], and those of the store.
    pub async fn visible_event(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        event_id: &str,
    ) -> Result<(EventNum, EventRow), EngineError> {
        let num = self.find_event(room.num, event_id).await?.ok_or(EngineError::UnknownEvent)?;
        let row = self.event(room.num, num).await?;
        if row.pos() > self.frontier() || !self.can_see(room.num, viewer, &row).await? {
            return Err(EngineError::UnknownEvent);
        }
        Ok((num, row))
    }

    /// The state after an event: the one before it, with its own change where it is a state event.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn entries_after(
        &self,
        room: RoomNum,
        num: EventNum,
        row: &EventRow,
    ) -> Result<Vec<(String, String, EventNum)>, EngineError> {
        let mut entries = self.entries_at(room, row.state_before()).await?;
        if let Some(state_key) = row.state_key() {
            let event_type = row.event_type();
            entries.retain(|(kind, key, _)| *kind != event_type || *key != state_key);
            entries.push((event_type.into_owned(), state_key.into_owned(), num));
        }
        Ok(entries)
    }
}
