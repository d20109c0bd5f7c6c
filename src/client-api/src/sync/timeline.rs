//! The end of a stretch of a room's events.

use std::collections::BTreeMap;

use engine::{Direction, EventNum, EventRow, Room, UserNum, Viewer};
use store::Pos;

use super::section::RoomQuery;
use crate::{ApiError, App, filter::is_ignored};

/// Events looked at to fill a filtered timeline, at most.
pub(super) const LOOKED_AT: usize = 2000;

/// The newest events of a stretch that may be shown, oldest first.
pub(super) struct Timeline {
    pub(super) events: Vec<(EventNum, EventRow)>,
    /// Events of the stretch that may be shown are left out before the first of these.
    pub(super) limited: bool,
    /// Every event of the stretch is in it.
    pub(super) whole: bool,
    /// Users here whose own membership events were looked at, shown or not.
    pub(super) members: Vec<UserNum>,
    /// What holds instead of what it tells can be said in the next response.
    pub(super) may_mislead: bool,
    /// It tells of state that lost against another branch of the room.
    pub(super) misleads: bool,
}

impl Default for Timeline {
    /// That of a stretch without events.
    fn default() -> Self {
        Self {
            events: Vec::new(),
            limited: false,
            whole: true,
            members: Vec::new(),
            may_mislead: false,
            misleads: false,
        }
    }
}

/// The type and the key of an entry of a state.
pub(super) type Entry = (String, String);

/// State by type and key, as events of a room.
pub(super) type Changes = BTreeMap<Entry, EventNum>;

impl Timeline {
    /// Whether memberships changed in the stretch, as far as it was looked at.
    pub(super) fn has_members(&self) -> bool {
        !self.members.is_empty() || self.events.iter().any(|(_, row)| is_member(row))
    }

    pub(super) fn has_state(&self) -> bool {
        self.events.iter().any(|(_, row)| row.is_state())
    }

    pub(super) fn shows(&self, num: EventNum) -> bool {
        self.events.iter().any(|(shown, _)| *shown == num)
    }

    /// Places of events that set what is no longer so, though no later event of the timeline says it: it was changed by one that is hidden
    /// or filtered out, or when branches of the room met. `changes` is how the current state differs from that before the timeline.
    pub(super) fn stale(&self, changes: &Changes) -> Vec<(usize, Entry)> {
        let told = last_told(&self.events).into_iter();
        told.filter(|(key, (_, num))| changes.get(key) != Some(num)).map(|(key, (index, _))| (index, key)).collect()
    }

    /// Leaves out the events up to a place: a client takes the timeline for newer than `state`, and would end with what it says there.
    pub(super) fn cut(&mut self, last: usize) {
        self.events.drain(..=last);
        (self.limited, self.whole) = (true, false);
    }
}

/// The last that some events say of each entry of the state, by its place among them and its number.
pub(super) fn last_told(events: &[(EventNum, EventRow)]) -> BTreeMap<Entry, (usize, EventNum)> {
    let mut told = BTreeMap::new();
    for (index, (num, row)) in events.iter().enumerate() {
        if let Some(key) = row.state_key() {
            told.insert((row.event_type().into_owned(), key.into_owned()), (index, *num));
        }
    }
    told
}

/// Whether somebody enters or leaves, or changes what they show.
pub(super) fn is_own_membership(row: &EventRow) -> bool {
    is_member(row) && row.state_key().as_deref() == Some(row.sender())
}

pub(super) fn is_member(row: &EventRow) -> bool {
    row.type_json() == "\"m.room.member\""
}

impl App {
    /// The newest events of a stretch that the filter, the user's list of ignored users and the room's history visibility
    /// let through.
    pub(super) async fn timeline(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        (after, to): (Pos, Pos),
        query: &RoomQuery<'_>,
    ) -> Result<Timeline, ApiError> {
        let mut timeline = Timeline::default();
        if !query.timeline.room(&room.id) {
            timeline.whole = false;
            return Ok(timeline);
        }
        let ignored = self.users.account_data.ignored(viewer.num).await?;
        let (mut end, mut looked) = (to, 0);
        'pages: loop {
            let page_size = (query.limit + 1).clamp(2, 200);
            let page = self.engine.stream(room.num, after, end, page_size, Direction::Backward).await?;
            let full = page.len() == page_size;
            let nums: Vec<EventNum> = page.iter().map(|(_, num)| *num).collect();
            for (num, row) in self.engine.events(room.num, &nums).await? {
                if is_own_membership(&row) {
                    timeline.members.push(row.sender_num());
                }
                let shown = query.timeline.row(&row)
                    && !is_ignored(&ignored, &row)
                    && self.engine.can_see(room.num, viewer, &row).await?;
                if !shown {
                    timeline.whole = false;
                } else if timeline.events.len() == query.limit {
                    timeline.limited = true;
                    break 'pages;
                } else {
                    timeline.events.push((num, row.clone()));
                }
                // What came before it in the stream is not what it follows: that a client has to ask for.
                if self.engine.is_behind_gap(room, &row).await? {
                    timeline.limited = true;
                    break 'pages;
                }
            }
            looked += page.len();
            let Some((first, _)) = page.last().filter(|_| full) else { break };
            if looked >= LOOKED_AT {
                timeline.limited = true;
                break;
            }
            end = first.saturating_sub(1);
        }
        timeline.events.reverse();
        timeline.whole &= !timeline.limited;
        Ok(timeline)
    }
}
