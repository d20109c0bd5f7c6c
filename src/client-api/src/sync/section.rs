//! One room's part of a response.

use std::{collections::HashSet, sync::Arc};

use engine::{EventNum, EventRow, Membership, Rendering, Room, RoomNum, UserNum, UserRoom, Viewer, splice::Format};
use http_kit::Requester;
use ruma::{OwnedUserId, RoomId, api::client::filter::LazyLoadOptions};
use store::Pos;
use users::account_data::Item;

use super::{
    assemble::{Query, Window, item_event, push_events},
    timeline::{Timeline, is_own_membership},
    unread,
};
use crate::{ApiError, App, filter::RowFilter, page::encode_before};

/// Events of a timeline, where the client names no limit, and at most.
const TIMELINE: usize = 10;
const TIMELINE_MAX: usize = 1000;

/// What a client asked for, made ready for many rooms.
pub(super) struct RoomQuery<'a> {
    pub(super) requester: &'a Requester,
    pub(super) include_leave: bool,
    pub(super) full_state: bool,
    pub(super) state_after: bool,
    pub(super) lazy: bool,
    pub(super) by_thread: bool,
    pub(super) limit: usize,
    pub(super) timeline: RowFilter,
    pub(super) state: RowFilter,
    pub(super) ephemeral: RowFilter,
    account_data: RowFilter,
    rooms: Option<Vec<String>>,
    not_rooms: Vec<String>,
    ignored: Arc<HashSet<OwnedUserId>>,
}

impl<'a> RoomQuery<'a> {
    pub(super) fn new(query: &Query, requester: &'a Requester, ignored: Arc<HashSet<OwnedUserId>>) -> Self {
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
            timeline: RowFilter::new(&room.timeline).with_relations(query.relations.clone()),
            state: RowFilter::new(&room.state),
            ephemeral: RowFilter::new(&room.ephemeral),
            account_data: RowFilter::new(&room.account_data),
            rooms: room.rooms.as_deref().map(texts),
            not_rooms: texts(&room.not_rooms),
            ignored,
        }
    }

    pub(super) fn wants_room(&self, room_id: &RoomId) -> bool {
        let is = |id: &String| id == room_id.as_str();
        !self.not_rooms.iter().any(is) && self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(is))
    }

    /// Account data of a room as events, what the filter wants of it.
    fn wanted_items(&self, room_id: &RoomId, items: &[Item]) -> Vec<String> {
        if !self.account_data.room(room_id) {
            return Vec::new();
        }
        items.iter().filter(|item| self.account_data.passes(&item.event_type, "")).map(item_event).collect()
    }

    pub(super) fn rendering(&self) -> Rendering<'_> {
        let device = self.requester.device_id.as_deref().map(ruma::DeviceId::as_str);
        Rendering { format: Format::WithoutRoomId, device, bundle: Some(&self.ignored) }
    }
}

/// What there is to say of a room that the user is in.
pub(super) struct Joined {
    pub(super) json: String,
    /// Users here with whom the user was not in this room before.
    pub(super) met: Vec<UserNum>,
    /// The timeline tells of state that does not hold.
    pub(super) misleads: bool,
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
    ) -> Result<Option<Joined>, ApiError> {
        let after = window.after();
        // Who wants to be told of all members at once is told of the room once they are known.
        if !query.lazy && room.info().partial {
            return Ok(None);
        }
        let filled = !query.lazy && room.pulse.filled() > after;
        let fresh = window.since.is_none() || place.since > after || filled;
        let viewer = Viewer { user_id: &query.requester.user_id, num: query.requester.user, place: Some(place) };
        let ephemeral = self.ephemeral(room, fresh, window, query).await?;
        let items = query.wanted_items(&room.id, items);
        let moved = room.pulse.timeline() > after;
        let read = room.pulse.receipts() > after;
        let mended = if fresh { Vec::new() } else { self.mended(room, window, query).await? };
        let quiet = ephemeral.is_empty() && items.is_empty() && mended.is_empty();
        if !fresh && !moved && !read && !query.full_state && quiet {
            return Ok(None);
        }
        let from = if fresh { 0 } else { after };
        let range = (from, window.to.pos);
        let mut timeline =
            if moved || fresh { self.timeline(room, &viewer, range, query).await? } else { Timeline::default() };
        // Who enters, perhaps not for the first time, starts the timeline anew instead of adding to what they have.
        timeline.limited |= fresh && window.since.is_some();
        let full = fresh || query.full_state;
        timeline.may_mislead = true;
        let mut state = self.section_state(room, &mut timeline, range, full, query).await?;
        state.mend(mended);
        let mut out = String::with_capacity(1024);
        out.push('{');
        out.push_str("\"summary\":");
        if full || state.members_changed || timeline.has_members() {
            let (summary, heroes) = self.summary(room, &viewer).await?;
            out.push_str(&summary);
            let unseen = self.unseen_heroes(room, &heroes, (&timeline, &state), query).await?;
            state.rows.extend(unseen);
        } else {
            out.push_str("{}");
        }
        self.push_timeline(&mut out, room, &viewer, &timeline, range, query).await?;
        self.push_state(&mut out, room, &viewer, &state.rows, query).await?;
        // Said where it is empty, too: tools look for the list.
        out.push_str(",\"ephemeral\":{\"events\":[");
        out.push_str(&ephemeral.join(","));
        out.push_str("]}");
        if fresh {
            // As above.
            out.push_str(&format!(",\"account_data\":{{\"events\":[{}]}}", items.join(",")));
        } else {
            push_events(&mut out, "account_data", &items);
        }
        if fresh || moved || read {
            let counts = self.unread(room, &viewer, window.to.pos).await?;
            out.push_str(&unread::to_json(&counts, query.by_thread));
        }
        out.push('}');
        let met = self.met(room, place, window, &timeline, &state.rows).await?;
        Ok(Some(Joined { json: out, met, misleads: timeline.misleads }))
    }

    /// Local users with whom the user shares the room since the last response. Of joins that a filter hides in a gap of the
    /// timeline nothing is known here.
    async fn met(
        &self,
        room: &Room,
        place: UserRoom,
        window: &Window,
        timeline: &Timeline,
        state: &[(EventNum, EventRow)],
    ) -> Result<Vec<UserNum>, ApiError> {
        let Some(since) = window.since else { return Ok(Vec::new()) };
        if place.since > since.pos {
            return Ok(room.info().local_members.to_vec());
        }
        let mut users = timeline.members.clone();
        let news = state.iter().filter(|(_, row)| row.pos() > since.pos && is_own_membership(row));
        users.extend(news.map(|(_, row)| row.sender_num()));
        users.sort_unstable();
        users.dedup();
        let mut met = Vec::new();
        for user in users {
            let there = self.engine.user_rooms().get(user, room.num).await?;
            if there.is_some_and(|there| there.membership == Membership::Join && there.since > since.pos) {
                met.push(user);
            }
        }
        Ok(met)
    }

    /// A room that the user has left or was thrown out of: what happened up to that.
    pub(super) async fn left_room(
        &self,
        room: &Room,
        place: UserRoom,
        window: &Window,
        query: &RoomQuery<'_>,
        items: &[Item],
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
        let mut timeline = self.timeline(room, &viewer, range, query).await?;
        let state =
            if was_in { self.section_state(room, &mut timeline, range, full, query).await?.rows } else { Vec::new() };
        let mut out = String::from("{\"summary\":{}");
        self.push_timeline(&mut out, room, &viewer, &timeline, range, query).await?;
        self.push_state(&mut out, room, &viewer, &state, query).await?;
        push_events(&mut out, "account_data", &query.wanted_items(&room.id, items));
        out.push('}');
        Ok(out)
    }

    /// A room that is not here, to which the user was invited or on which they knocked: how that ended.
    pub(super) async fn left_outside(&self, num: RoomNum, query: &RoomQuery<'_>) -> Result<String, ApiError> {
        let mut out = String::from("{\"summary\":{},\"timeline\":{\"events\":[");
        if let Some(event) = self.engine.outside_event(query.requester.user, num).await? {
            out.push_str(&event);
        }
        out.push_str("],\"limited\":false},\"state\":{\"events\":[]}}");
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
        let seen = match timeline.events.first() {
            Some((_, row)) => Some(row.pos().saturating_sub(1)),
            None => Some(to).filter(|_| after == 0 || timeline.limited),
        };
        if let Some(seen) = seen {
            out.push_str(",\"prev_batch\":\"");
            out.push_str(&encode_before(seen, room.pulse.deepest()));
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
        self.engine.render(out, room, viewer, state, Rendering { bundle: None, ..query.rendering() }).await?;
        out.push_str("]}");
        Ok(())
    }
}
