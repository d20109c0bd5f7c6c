//! Who may read a room, and up to where.

use std::{collections::HashSet, sync::Arc, time::Duration};

use engine::{EngineError, EventNum, EventRow, HistoryPoint, Membership, Room, StateEntry, Viewer, Visibility};
use http_kit::Requester;
use ruma::{OwnedUserId, RoomId};

use crate::{ApiError, App};

/// How long a request waits for the members of a room that was entered a moment ago.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Changes of a membership looked at to find when its user was last in the room, at most.
const CHANGES: usize = 100;

/// A room as one user may read it.
pub(crate) struct Reader<'a> {
    pub(crate) room: Arc<Room>,
    /// The user; without a place in the room where they asked to forget it.
    pub(crate) viewer: Viewer<'a>,
    /// For those who are no longer in the room: the event that ended their membership.
    pub(crate) until: Option<(EventNum, EventRow)>,
    /// Whom the user ignores.
    pub(crate) ignored: Arc<HashSet<OwnedUserId>>,
}

impl Reader<'_> {
    /// The last point of the room's history that the user may read up to.
    pub(crate) fn end(&self) -> HistoryPoint {
        self.until.as_ref().map_or(HistoryPoint::END, |(_, row)| HistoryPoint::after(row))
    }
}

impl App {
    /// A room that the requester may read: as a member, as a former member up to when they left, or as anybody where the room
    /// is `world_readable`.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN`, also for rooms that do not exist.
    pub(crate) async fn reader<'a>(&self, room_id: &RoomId, requester: &'a Requester) -> Result<Reader<'a>, ApiError> {
        let (room, mut viewer) = self.room_of(room_id, requester).await?;
        viewer.place = viewer.place.filter(|place| !place.forgotten);
        let ignored = self.users.account_data.ignored(viewer.num).await?;
        if viewer.place.is_some_and(|place| place.membership == Membership::Join)
            || room.info().visibility == Visibility::WorldReadable
        {
            return Ok(Reader { room, viewer, until: None, ignored });
        }
        let Some(place) = viewer.place else { return Err(ApiError::not_in_room()) };
        let until = self.end_of_membership(&room, place.num).await?.ok_or_else(ApiError::not_in_room)?;
        Ok(Reader { room, viewer, until: Some(until), ignored })
    }

    /// The membership event that followed a user's last `join`, going back from the newest one.
    async fn end_of_membership(&self, room: &Room, newest: EventNum) -> Result<Option<(EventNum, EventRow)>, ApiError> {
        let mut num = newest;
        for _ in 0..CHANGES {
            let row = self.engine.event(room.num, num).await?;
            let before = row.replaces();
            if before == 0 {
                return Ok(None);
            }
            if self.engine.membership_of(room.num, before).await? == Membership::Join {
                return Ok(Some((num, row)));
            }
            num = before;
        }
        Ok(None)
    }

    /// The state that a reader sees: the current one, or that of when they left.
    pub(crate) async fn state_for(&self, reader: &Reader<'_>) -> Result<Vec<StateEntry>, ApiError> {
        let room = reader.room.num;
        self.engine.whole(&reader.room, PATIENCE).await?;
        Ok(match &reader.until {
            None => self.engine.current_state(room).await?,
            Some((num, row)) => self.engine.entries_after(room, *num, row).await?,
        })
    }

    /// One entry of the state that a reader sees.
    ///
    /// # Errors
    /// 404 `M_NOT_FOUND`.
    pub(crate) async fn state_entry_for(
        &self,
        reader: &Reader<'_>,
        event_type: &str,
        state_key: &str,
    ) -> Result<(EventNum, EventRow), ApiError> {
        let room = reader.room.num;
        if event_type == "m.room.member" {
            self.engine.knows_member(&reader.room, state_key, PATIENCE).await?;
        }
        let num = match &reader.until {
            None => self.engine.current(room, event_type, state_key).await?,
            Some((num, row)) if row.event_type() == event_type && row.state_key().as_deref() == Some(state_key) => {
                Some(*num)
            }
            Some((_, row)) => self.engine.state_at(room, row.state_before(), event_type, state_key).await?,
        };
        let num = num.ok_or_else(ApiError::no_state)?;
        Ok((num, self.engine.event(room, num).await?))
    }

    /// A room that this server knows.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN`: strangers are not told which rooms exist.
    pub(crate) async fn known_room(&self, room_id: &RoomId) -> Result<Arc<Room>, ApiError> {
        match self.engine.room(room_id).await {
            Err(EngineError::UnknownRoom) => Err(ApiError::not_in_room()),
            other => Ok(other?),
        }
    }
}
