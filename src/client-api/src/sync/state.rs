//! The state that a client needs beside a timeline.

use engine::{Direction, EventNum, EventRow, Room, state_tree::NodeId};
use store::Pos;

use super::{
    assemble::Window,
    section::RoomQuery,
    timeline::{Changes, LOOKED_AT, Timeline, is_member, last_told},
};
use crate::{ApiError, App};

/// `state` or `state_after` of a room.
#[derive(Default)]
pub(super) struct SectionState {
    pub(super) rows: Vec<(EventNum, EventRow)>,
    /// Memberships changed, whether or not those events are among the rows.
    pub(super) members_changed: bool,
}

impl SectionState {
    /// Adds what holds, where nothing newer is said.
    pub(super) fn mend(&mut self, mended: Vec<(EventNum, EventRow)>) {
        for (num, row) in mended {
            let same = |(_, other): &(EventNum, EventRow)| {
                other.type_json() == row.type_json() && other.state_key() == row.state_key()
            };
            if !self.rows.iter().any(same) {
                self.members_changed |= is_member(&row);
                self.rows.push((num, row));
            }
        }
    }
}

impl App {
    /// The state that the client needs beside the timeline, which is cut where it would mislead about that.
    pub(super) async fn section_state(
        &self,
        room: &Room,
        timeline: &mut Timeline,
        (after, to): (Pos, Pos),
        full: bool,
        query: &RoomQuery<'_>,
    ) -> Result<SectionState, ApiError> {
        let current = room.info().root;
        // Members that were filled in came by no event.
        let filled = room.pulse.filled() > after;
        let is_quiet = !filled
            && timeline.whole
            && timeline.events.iter().all(|(_, row)| !row.is_state() && row.state_before() == current);
        if !full && is_quiet {
            let rows = Vec::new();
            let rows =
                if query.lazy { self.lazy_members(room, timeline, rows, full, current, query).await? } else { rows };
            return Ok(SectionState { rows, members_changed: false });
        }
        let now = self.engine.root_at(room.num, to).await?;
        let before = if full { NodeId::EMPTY } else { self.engine.root_at(room.num, after).await? };
        let (changes, shown_at) = if query.state_after {
            (self.delta(room, before, now, full).await?, now)
        } else {
            self.changes_before(room, timeline, before, now, full).await?
        };
        let nums: Vec<EventNum> = changes.into_values().collect();
        let rows = self.engine.events(room.num, &nums).await?;
        let members_changed = rows.iter().any(|(_, row)| is_member(row));
        let mut rows: Vec<_> = rows.into_iter().filter(|(_, row)| query.state.row(row)).collect();
        if !query.state.room(&room.id) {
            rows.clear();
        } else if query.lazy {
            rows = self.lazy_members(room, timeline, rows, full, shown_at, query).await?;
        }
        Ok(SectionState { rows, members_changed })
    }

    /// What a client has to know before it applies the timeline, and the state before the timeline.
    async fn changes_before(
        &self,
        room: &Room,
        timeline: &mut Timeline,
        before: NodeId,
        now: NodeId,
        full: bool,
    ) -> Result<(Changes, NodeId), ApiError> {
        loop {
            let start = match timeline.events.first() {
                Some((_, row)) => self.engine.root_at(room.num, row.pos().saturating_sub(1)).await?,
                None => now,
            };
            let later = if start == now { Changes::new() } else { self.delta(room, start, now, false).await? };
            if timeline.has_state() && self.cut_where_stale(room, timeline, &later, now).await? {
                continue;
            }
            let mut changes = self.delta(room, before, start, full && start == now).await?;
            // What changed inside the stretch and is not shown in the timeline: filtered, hidden, or merged from a branch.
            changes.extend(later.into_iter().filter(|(_, num)| !timeline.shows(*num)));
            return Ok((changes, start));
        }
    }

    /// Cuts a timeline where a client would end with what an event that it is not shown has changed; where it would end with what lost
    /// against another branch, the timeline stays and is known to mislead. Whether it was cut.
    async fn cut_where_stale(
        &self,
        room: &Room,
        timeline: &mut Timeline,
        later: &Changes,
        now: NodeId,
    ) -> Result<bool, ApiError> {
        let mut last = None;
        timeline.misleads = false;
        for (index, (kind, key)) in timeline.stale(later) {
            let Some((_, told)) = timeline.events.get(index) else { continue };
            let holds = match self.engine.state_at(room.num, now, &kind, &key).await? {
                Some(num) => Some(self.engine.event(room.num, num).await?),
                None => None,
            };
            if timeline.may_mislead && holds.is_some_and(|holds| holds.pos() < told.pos()) {
                timeline.misleads = true;
            } else {
                last = last.max(Some(index));
            }
        }
        if let Some(last) = last {
            timeline.cut(last);
        }
        Ok(last.is_some())
    }

    /// What holds in a room where the response before this one told of what does not: see [`crate::page::SyncToken::misled_since`].
    pub(super) async fn mended(
        &self,
        room: &Room,
        window: &Window,
        query: &RoomQuery<'_>,
    ) -> Result<Vec<(EventNum, EventRow)>, ApiError> {
        let misled = window.since.and_then(|since| Some((since.misled_since?, since.pos)));
        let Some((from, to)) = misled.filter(|(from, _)| room.pulse.timeline() > *from) else { return Ok(Vec::new()) };
        let mut page = self.engine.stream(room.num, from, to, LOOKED_AT, Direction::Backward).await?;
        page.reverse();
        let nums: Vec<EventNum> = page.into_iter().map(|(_, num)| num).collect();
        let told = last_told(&self.engine.events(room.num, &nums).await?);
        let root = self.engine.root_at(room.num, to).await?;
        let mut mended = Vec::new();
        for ((kind, key), (_, told)) in told {
            let holds = self.engine.state_at(room.num, root, &kind, &key).await?;
            if let Some(num) = holds.filter(|num| *num != told) {
                let row = self.engine.event(room.num, num).await?;
                if query.state.row(&row) && query.state.room(&room.id) {
                    mended.push((num, row));
                }
            }
        }
        Ok(mended)
    }

    /// The events in which two states differ. The whole current state comes from flat rows, which is one scan.
    async fn delta(&self, room: &Room, from: NodeId, to: NodeId, full: bool) -> Result<Changes, ApiError> {
        let entries = if full && from == NodeId::EMPTY && to == room.info().root {
            self.engine.current_state(room.num).await?
        } else {
            self.engine.state_delta(room.num, from, to).await?
        };
        Ok(entries.into_iter().map(|(event_type, key, num)| ((event_type, key), num)).collect())
    }

    /// Where a room's members are not all known, one who speaks cites their membership.
    async fn cited_member(&self, room: &Room, timeline: &Timeline, id: &str) -> Result<Option<EventNum>, ApiError> {
        let spoken = timeline.events.iter().filter(|(_, row)| row.partial_state() && row.sender() == id);
        for (num, _) in spoken {
            if let Some(member) = self.engine.cited_member(room, *num, id).await? {
                return Ok(Some(member));
            }
        }
        Ok(None)
    }

    /// Leaves out members that do not speak in the timeline and adds those that do, as of the state at `root`.
    /// [Lazy-loading room members](https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members).
    async fn lazy_members(
        &self,
        room: &Room,
        timeline: &Timeline,
        mut rows: Vec<(EventNum, EventRow)>,
        full: bool,
        root: NodeId,
        query: &RoomQuery<'_>,
    ) -> Result<Vec<(EventNum, EventRow)>, ApiError> {
        let mut wanted: Vec<&str> = timeline.events.iter().map(|(_, row)| row.sender()).collect();
        if full {
            wanted.push(query.requester.user_id.as_str());
        }
        wanted.sort_unstable();
        wanted.dedup();
        // A stretch that is shown in part may hide changes of members: those stay.
        let all = !full && !timeline.whole;
        rows.retain(|(_, row)| {
            !is_member(row) || all || row.state_key().is_some_and(|key| wanted.binary_search(&&*key).is_ok())
        });
        for id in wanted {
            if rows.iter().any(|(_, row)| is_member(row) && row.state_key().as_deref() == Some(id)) {
                continue;
            }
            let known = match self.engine.state_at(room.num, root, "m.room.member", id).await? {
                None => self.cited_member(room, timeline, id).await?,
                known => known,
            };
            if let Some(num) = known {
                let row = self.engine.event(room.num, num).await?;
                if query.state.row(&row) {
                    rows.push((num, row));
                }
            }
        }
        Ok(rows)
    }
}
