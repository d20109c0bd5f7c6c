//! One room's part of a response.

use engine::{Direction, EventNum, EventRow, HistoryPoint, Rendering, Room, UserRoom, Viewer, splice::Format};
use http_kit::Requester;
use ruma::{RoomId, api::client::filter::LazyLoadOptions};
use store::Pos;
use users::account_data::Item;

use super::{
    assemble::{Query, Window, item_event, push_events},
    unread,
};
use crate::{ApiError, App, filter::{RowFilter, type_matches}, page::encode_point};

/// Events of a timeline, where the client names no limit, and at most.
const TIMELINE: usize = 10;
const TIMELINE_MAX: usize = 1000;
/// Events looked at to fill a filtered timeline, at most.
const LOOKED_AT: usize = 2000;

/// What a client asked for, made ready for many rooms.
pub(super) struct RoomQuery<'a> {
    pub(super) requester: &'a Requester,
    pub(super) include_leave: bool,
    pub(super) full_state: bool,
    pub(super) state_after: bool,
    pub(super) lazy: bool,
    pub(super) by_thread: bool,
    pub(super) limit: usize,
    timeline: RowFilter,
    state: RowFilter,
    pub(super) ephemeral: RowFilter,
    account_data: RowFilter,
    rooms: Option<Vec<String>>,
    not_rooms: Vec<String>,
}

impl<'a> RoomQuery<'a> {
    pub(super) fn new(query: &Query, requester: &'a Requester) -> Self {
        let room = &query.filter.room;
        let limit = room.timeline.limit.map_or(TIMELINE, |limit| usize::try_from(limit).unwrap_or(TIMELINE_MAX));
        let texts = |ids: &[ruma::OwnedRoomId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let lazy = |options: &LazyLoadOptions| matches!(options, LazyLoadOptions::Enabled { .. });
        Self {
            requester,
            include_leave: room.include_leave,
            full_state: query.full_state,
            state_after: query.state_after,
            lazy: lazy(&room.state.lazy_load_options),
            by_thread: room.timeline.unread_thread_notifications,
            limit: limit.min(TIMELINE_MAX),
            timeline: RowFilter::new(&room.timeline),
            state: RowFilter::new(&room.state),
            ephemeral: RowFilter::new(&room.ephemeral),
            account_data: RowFilter::new(&room.account_data),
            rooms: room.rooms.as_deref().map(texts),
            not_rooms: texts(&room.not_rooms),
        }
    }

    pub(super) fn wants_room(&self, room_id: &RoomId) -> bool {
        let is = |id: &String| id == room_id.as_str();
        !self.not_rooms.iter().any(is) && self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(is))
    }

    fn rendering(&self) -> Rendering<'_> {
        let device = self.requester.device_id.as_deref().map(ruma::DeviceId::as_str);
        Rendering { format: Format::WithoutRoomId, device, bundle: true }
    }
}

/// The end of a timeline.
pub(super) struct Timeline {
    pub(super) events: Vec<(EventNum, EventRow)>,
    /// Events between `after` and the first of these are left out.
    pub(super) limited: bool,
    /// Every event since `after` is in it.
    pub(super) whole: bool,
    pub(super) prev: Option<HistoryPoint>,
}

impl App {
    /// A room that the user is in, where there is anything to say of it.
    pub(super) async fn joined_room(
        &self,
        room: &Room,
        place: UserRoom,
        window: &Window,
        query: &RoomQuery<'_>,
        items: &[Item],
    ) -> Result<Option<String>, ApiError> {
        let after = window.after();
        let fresh = window.since.is_none() || place.since > after;
        let viewer = Viewer { user_id: &query.requester.user_id, num: query.requester.user, place: Some(place) };
        let ephemeral = self.ephemeral(room, fresh, window, query).await?;
        let items: Vec<String> = items
            .iter()
            .filter(|item| query.account_data.passes(&item.event_type, ""))
            .map(item_event)
            .collect();
        let moved = room.pulse.timeline() > after;
        let read = room.pulse.receipts() > after;
        if !fresh && !moved && !read && !query.full_state && ephemeral.is_empty() && items.is_empty() {
            return Ok(None);
        }
        let from = if fresh { 0 } else { after };
        let timeline = if moved || fresh {
            self.timeline(room, &viewer, (from, window.to.pos), query).await?
        } else {
            Timeline { events: Vec::new(), limited: false, whole: true, prev: None }
        };
        let full = fresh || query.full_state;
        let state = self.section_state(room, &timeline, (from, window.to.pos), full, query).await?;
        let mut out = String::with_capacity(1024);
        out.push('{');
        let members_changed =
            state.iter().chain(&timeline.events).any(|(_, row)| row.type_json() == "\"m.room.member\"");
        out.push_str("\"summary\":");
        if full || members_changed {
            out.push_str(&self.summary(room, &viewer).await?);
        } else {
            out.push_str("{}");
        }
        self.push_timeline(&mut out, room, &viewer, &timeline, (from, window.to.pos), query).await?;
        self.push_state(&mut out, room, &viewer, &state, query).await?;
        push_events(&mut out, "ephemeral", &ephemeral);
        push_events(&mut out, "account_data", &items);
        if fresh || moved || read {
            let counts = self.unread(room, &viewer, window.to.pos).await?;
            out.push_str(&unread::to_json(&counts, query.by_thread));
        }
        out.push('}');
        Ok(Some(out))
    }

    /// A room that the user has left or was thrown out of: what happened up to that.
    pub(super) async fn left_room(
        &self,
        room: &Room,
        place: UserRoom,
        window: &Window,
        query: &RoomQuery<'_>,
    ) -> Result<String, ApiError> {
        let viewer = Viewer { user_id: &query.requester.user_id, num: query.requester.user, place: Some(place) };
        // Who was not in the room (an invitation refused) sees no more than that.
        let was_in = place.left > window.after();
        // Who came back and went again in one stretch has missed what was before it.
        let returned = was_in && window.since.is_some() && !self.was_joined(room, &viewer, window.after()).await?;
        let full = window.since.is_none() || query.full_state || returned;
        let from = match (was_in, returned) {
            (true, true) => 0,
            (true, false) => window.after(),
            (false, _) => place.pos.saturating_sub(1),
        };
        let range = (from, place.pos.min(window.to.pos));
        let timeline = self.timeline(room, &viewer, range, query).await?;
        let state = if was_in { self.section_state(room, &timeline, range, full, query).await? } else { Vec::new() };
        let mut out = String::from("{\"summary\":{}");
        self.push_timeline(&mut out, room, &viewer, &timeline, range, query).await?;
        self.push_state(&mut out, room, &viewer, &state, query).await?;
        out.push('}');
        Ok(out)
    }

    /// Whether the user was in the room at a position.
    async fn was_joined(&self, room: &Room, viewer: &Viewer<'_>, pos: Pos) -> Result<bool, ApiError> {
        let root = self.engine.root_at(room.num, pos).await?;
        Ok(match self.engine.state_at(room.num, root, "m.room.member", viewer.user_id.as_str()).await? {
            Some(num) => self.engine.membership_of(room.num, num).await? == engine::Membership::Join,
            None => false,
        })
    }

    /// The newest events of a stretch that the filter and the room's history visibility let through.
    async fn timeline(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        (after, to): (Pos, Pos),
        query: &RoomQuery<'_>,
    ) -> Result<Timeline, ApiError> {
        let (mut events, mut end, mut looked, mut whole) = (Vec::new(), to, 0, true);
        let mut limited = false;
        'pages: loop {
            let page_size = (query.limit + 1).clamp(2, 200);
            let page = self.engine.stream(room.num, after, end, page_size, Direction::Backward).await?;
            let full = page.len() == page_size;
            let nums: Vec<EventNum> = page.iter().map(|(_, num)| *num).collect();
            for (num, row) in self.engine.events(room.num, &nums).await? {
                let shown = query.timeline.row(&row) && self.engine.can_see(room.num, viewer, &row).await?;
                if !shown {
                    whole = false;
                } else if events.len() == query.limit {
                    limited = true;
                    break 'pages;
                } else {
                    events.push((num, row));
                }
            }
            looked += page.len();
            let Some((first, _)) = page.last().filter(|_| full) else { break };
            if looked >= LOOKED_AT {
                limited = true;
                break;
            }
            end = first.saturating_sub(1);
        }
        events.reverse();
        let prev = events.first().map(|(_, row)| HistoryPoint::before(row));
        Ok(Timeline { events, limited, whole: whole && !limited, prev })
    }

    /// The state that the client needs beside the timeline.
    async fn section_state(
        &self,
        room: &Room,
        timeline: &Timeline,
        (after, to): (Pos, Pos),
        full: bool,
        query: &RoomQuery<'_>,
    ) -> Result<Vec<(EventNum, EventRow)>, ApiError> {
        let has_state = timeline.events.iter().any(|(_, row)| row.is_state());
        if !full && timeline.whole && !(query.state_after && has_state) {
            return if query.lazy { self.lazy_members(room, timeline, Vec::new(), full, to, query).await } else { Ok(Vec::new()) };
        }
        let now = self.engine.root_at(room.num, to).await?;
        let before = if full { engine::state_tree::NodeId::EMPTY } else { self.engine.root_at(room.num, after).await? };
        let mut nums: Vec<EventNum> = Vec::new();
        if query.state_after {
            nums.extend(self.delta(room, before, now, full).await?);
        } else {
            let start = timeline.events.first().map_or(now, |(_, row)| row.state_before());
            nums.extend(self.delta(room, before, start, full && start == now).await?);
            // What changed inside the stretch and is not shown in the timeline: filtered, left out, or merged from a fork.
            if !timeline.whole && start != now {
                let shown: Vec<EventNum> = timeline.events.iter().map(|(num, _)| *num).collect();
                let later = self.engine.state_delta(room.num, start, now).await?;
                let missing: Vec<_> = later.into_iter().filter(|(_, _, num)| !shown.contains(num)).collect();
                nums.extend(missing.into_iter().map(|(_, _, num)| num));
            }
        }
        let rows = self.engine.events(room.num, &nums).await?;
        let rows: Vec<_> = rows.into_iter().filter(|(_, row)| query.state.row(row)).collect();
        if query.lazy {
            return self.lazy_members(room, timeline, rows, full, to, query).await;
        }
        Ok(rows)
    }

    /// The events in which two states differ. The whole current state comes from flat rows, which is one scan.
    async fn delta(
        &self,
        room: &Room,
        from: engine::state_tree::NodeId,
        to: engine::state_tree::NodeId,
        current: bool,
    ) -> Result<Vec<EventNum>, ApiError> {
        if current && from == engine::state_tree::NodeId::EMPTY && to == room.info().root {
            let entries = self.engine.current_state(room.num).await?;
            return Ok(entries.into_iter().map(|(_, _, num)| num).collect());
        }
        let entries = self.engine.state_delta(room.num, from, to).await?;
        Ok(entries.into_iter().map(|(_, _, num)| num).collect())
    }

    /// Leaves out members that do not speak in the timeline and adds those that do.
    /// [Lazy-loading room members](https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members).
    async fn lazy_members(
        &self,
        room: &Room,
        timeline: &Timeline,
        mut rows: Vec<(EventNum, EventRow)>,
        full: bool,
        to: Pos,
        query: &RoomQuery<'_>,
    ) -> Result<Vec<(EventNum, EventRow)>, ApiError> {
        let mut wanted: Vec<String> = timeline.events.iter().map(|(_, row)| row.sender().to_owned()).collect();
        if full {
            wanted.push(query.requester.user_id.to_string());
        }
        wanted.sort_unstable();
        wanted.dedup();
        let is_member = |row: &EventRow| row.type_json() == "\"m.room.member\"";
        // A stretch that is shown in part may hide changes of members: those stay.
        rows.retain(|(_, row)| {
            !is_member(row) || (!full && !timeline.whole) || wanted.iter().any(|id| row.state_key().as_deref() == Some(id))
        });
        if !query.state.passes("m.room.member", "") && !query.state.is_empty() {
            return Ok(rows);
        }
        let root = match timeline.events.first() {
            Some((_, row)) if !query.state_after => row.state_before(),
            _ => self.engine.root_at(room.num, to).await?,
        };
        for id in wanted {
            let known = |(_, row): &(EventNum, EventRow)| is_member(row) && row.state_key().as_deref() == Some(&id);
            if rows.iter().any(known) || (!query.state_after && timeline.events.iter().any(known)) {
                continue;
            }
            if let Some(num) = self.engine.state_at(room.num, root, "m.room.member", &id).await? {
                rows.push((num, self.engine.event(room.num, num).await?));
            }
        }
        Ok(rows)
    }

    async fn push_timeline(
        &self,
        out: &mut String,
        room: &Room,
        viewer: &Viewer<'_>,
        timeline: &Timeline,
        (after, to): (Pos, Pos),
        query: &RoomQuery<'_>,
    ) -> Result<(), ApiError> {
        out.push_str(",\"timeline\":{\"events\":[");
        self.engine.render(out, room, viewer, &timeline.events, query.rendering()).await?;
        out.push_str(if timeline.limited { "],\"limited\":true" } else { "],\"limited\":false" });
        // Pages go back from the first event shown; where none is shown, from the end of the stretch.
        let prev = match timeline.prev {
            Some(prev) => Some(prev),
            None if after == 0 || timeline.limited => Some(self.engine.point_at(room.num, to).await?),
            None => None,
        };
        if let Some(prev) = prev {
            out.push_str(",\"prev_batch\":\"");
            out.push_str(&encode_point(prev));
            out.push('"');
        }
        out.push('}');
        Ok(())
    }

    async fn push_state(
        &self,
        out: &mut String,
        room: &Room,
        viewer: &Viewer<'_>,
        state: &[(EventNum, EventRow)],
        query: &RoomQuery<'_>,
    ) -> Result<(), ApiError> {
        out.push_str(if query.state_after { ",\"state_after\":{\"events\":[" } else { ",\"state\":{\"events\":[" });
        self.engine.render(out, room, viewer, state, Rendering { bundle: false, ..query.rendering() }).await?;
        out.push_str("]}");
        Ok(())
    }
}

/// Whether any of the patterns matches; used for kinds of ephemeral events.
pub(super) fn wants(filter: &RowFilter, kind: &str) -> bool {
    filter.passes(kind, "") && type_matches("*", kind)
}
