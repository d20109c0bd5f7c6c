//! One room's part of a response.

use std::collections::HashSet;

use engine::{EventNum, EventRow, Membership, Rendering, Room, UserRoom, Viewer, splice::push_json_string};
use serde_json::{Value, json};
use store::Pos;

use super::{connections::Sent, lists::Wish, required::Required};
use crate::{
    ApiError, App,
    page::encode_before,
    sync::{
        section::RoomQuery,
        timeline::{Timeline, is_member},
        unread,
    },
};

/// What a room's part is made for.
pub(super) struct Asked<'a> {
    pub(super) query: &'a RoomQuery<'a>,
    pub(super) wish: &'a Wish,
    /// What the client was told of the room.
    pub(super) sent: Option<&'a Sent>,
    /// What has come since the response before this one counts as live.
    pub(super) live_after: Option<Pos>,
    pub(super) to: Pos,
    /// The rooms that are direct chats.
    pub(super) direct: &'a HashSet<String>,
}

impl App {
    /// A room that the user is in, or was until just now; `None` where there is nothing to say.
    pub(super) async fn sliding_room(
        &self,
        room: &Room,
        place: UserRoom,
        asked: &Asked<'_>,
    ) -> Result<Option<String>, ApiError> {
        let requester = asked.query.requester;
        let viewer = Viewer { user_id: &requester.user_id, num: requester.user, place: Some(place) };
        let left = place.membership != Membership::Join;
        let to = if left { place.pos.min(asked.to) } else { asked.to };
        // Who came back since then begins anew with it.
        let sent = asked.sent.filter(|sent| place.since <= sent.upto || left);
        let initial = sent.is_none();
        let upto = sent.map_or(0, |sent| sent.upto);
        let expanded = sent.is_some_and(|sent| asked.wish.timeline_limit > sent.timeline_limit);
        let newly = sent.map_or_else(Required::default, |sent| asked.wish.required.beyond(&sent.required));
        let moved = room.pulse.timeline() > upto || room.pulse.filled() > upto;
        let read = room.pulse.receipts() > upto;
        if !initial && !expanded && newly.is_empty() && !moved && !read {
            return Ok(None);
        }
        // Who was not in the room (an invitation refused) sees no more than that.
        let was_in = !left || place.left > upto;
        let after = match was_in {
            true if expanded => 0,
            true => upto,
            false => place.pos.saturating_sub(1),
        };
        let timeline = match moved || expanded || initial {
            true => self.timeline(room, &viewer, (after, to), asked.query).await?,
            false => Timeline::default(),
        };
        let state = match was_in {
            true => self.wanted_state(room, &timeline, (upto, to), (initial, &newly), asked).await?,
            false => WantedState::of(place.num, self.engine.event(room.num, place.num).await?),
        };
        let mut out = String::with_capacity(1024);
        out.push_str(if initial { "{\"initial\":true" } else { "{\"initial\":false" });
        if expanded {
            out.push_str(",\"unstable_expanded_timeline\":true");
        }
        // What became of the room is nothing to those who are gone.
        if !left && (initial || state.is_described_anew) {
            self.describe(&mut out, room, &viewer, asked).await?;
        }
        self.push_events_of(&mut out, room, &viewer, (&timeline, &state.rows), asked).await?;
        let prev = timeline.events.first().map_or(to, |(_, row)| row.pos().saturating_sub(1));
        out.push_str(&format!(",\"limited\":{}", timeline.limited));
        out.push_str(&format!(",\"prev_batch\":\"{}\"", encode_before(prev, room.pulse.deepest())));
        let live =
            asked.live_after.map_or(0, |live| timeline.events.iter().filter(|(_, row)| row.pos() > live).count());
        out.push_str(&format!(",\"num_live\":{live}"));
        let bump = if left { place.since } else { self.bump_stamp(room).await?.max(place.since) };
        out.push_str(&format!(",\"bump_stamp\":{bump}"));
        if !left {
            let counts = self.unread(room, &viewer, to).await?;
            let all = unread::total(&counts);
            out.push_str(&format!(
                ",\"notification_count\":{},\"highlight_count\":{}",
                all.notifications, all.highlights
            ));
        }
        out.push('}');
        Ok(Some(out))
    }

    /// A room that the user was asked into, or asked to be let into.
    pub(super) async fn sliding_invitation(
        &self,
        num: engine::RoomNum,
        place: UserRoom,
        asked: &Asked<'_>,
    ) -> Result<Option<String>, ApiError> {
        if asked.sent.is_some_and(|sent| place.pos <= sent.upto) {
            return Ok(None);
        }
        let state = self.engine.invite_state(asked.query.requester.user, num).await?;
        let state = String::from_utf8_lossy(&state);
        let id = self.engine.room_id(num).await?;
        let is_dm = asked.direct.contains(id.as_str());
        Ok(Some(format!(
            "{{\"initial\":true,\"is_dm\":{is_dm},\"invite_state\":{state},\"bump_stamp\":{},\"timeline\":[],\"required_state\":[]}}",
            place.pos
        )))
    }

    /// Name, picture and people of a room.
    async fn describe(
        &self,
        out: &mut String,
        room: &Room,
        viewer: &Viewer<'_>,
        asked: &Asked<'_>,
    ) -> Result<(), ApiError> {
        let info = room.info();
        let named = self.text_of(room, "m.room.name", "name").await?;
        let mut push = |name: &str, value: &Value| {
            out.push_str(&format!(",\"{name}\":{value}"));
        };
        if let Some(name) = &named {
            push("name", &json!(name));
        } else {
            push("heroes", &self.shown_heroes(room, viewer).await?);
        }
        if let Some(avatar) = self.text_of(room, "m.room.avatar", "url").await? {
            push("avatar", &json!(avatar));
        }
        push("joined_count", &json!(info.joined));
        push("invited_count", &json!(info.invited));
        push("is_dm", &json!(asked.direct.contains(room.id.as_str())));
        Ok(())
    }

    /// A text in the content of a state event without a key; `None` where there is none, or an empty one.
    pub(in crate::sync) async fn text_of(
        &self,
        room: &Room,
        kind: &str,
        field: &str,
    ) -> Result<Option<String>, ApiError> {
        let Some(row) = self.engine.current_event(room.num, kind, "").await? else { return Ok(None) };
        let content: Value = serde_json::from_str(row.content()).unwrap_or_default();
        let text = content.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        Ok(text.map(ToOwned::to_owned))
    }

    /// Those by whom a room without a name is called, as they are shown.
    async fn shown_heroes(&self, room: &Room, viewer: &Viewer<'_>) -> Result<Value, ApiError> {
        let mut out = Vec::new();
        for hero in self.heroes(room, viewer).await? {
            let row = self.engine.event(room.num, hero.num).await?;
            let content: Value = serde_json::from_str(row.content()).unwrap_or_default();
            let mut shown = json!({"user_id": hero.user_id});
            for field in ["displayname", "avatar_url"] {
                if let Some(text) = content.get(field).filter(|value| value.is_string()) {
                    shown[field] = text.clone();
                }
            }
            out.push(shown);
        }
        Ok(Value::Array(out))
    }

    async fn push_events_of(
        &self,
        out: &mut String,
        room: &Room,
        viewer: &Viewer<'_>,
        (timeline, state): (&Timeline, &[(EventNum, EventRow)]),
        asked: &Asked<'_>,
    ) -> Result<(), ApiError> {
        out.push_str(",\"timeline\":[");
        self.engine.render(out, room, viewer, &timeline.events, asked.query.rendering()).await?;
        out.push_str("],\"required_state\":[");
        let how = Rendering { bundle: None, ..asked.query.rendering() };
        self.engine.render(out, room, viewer, state, how).await?;
        out.push(']');
        Ok(())
    }

    /// The state that is wanted and not known to the client, as it is now.
    async fn wanted_state(
        &self,
        room: &Room,
        timeline: &Timeline,
        (upto, to): (Pos, Pos),
        (initial, newly): (bool, &Required),
        asked: &Asked<'_>,
    ) -> Result<WantedState, ApiError> {
        let wanted = &asked.wish.required;
        let root = self.engine.root_at(room.num, to).await?;
        let (mut nums, mut is_described_anew) = (Vec::new(), false);
        if initial {
            nums = self.state_of(room, root, wanted).await?;
        } else {
            let before = self.engine.root_at(room.num, upto).await?;
            for (kind, key, num) in self.engine.state_delta(room.num, before, root).await? {
                is_described_anew |= matches!(&*kind, "m.room.name" | "m.room.avatar" | "m.room.member");
                if wanted.wants(&kind, &key) {
                    nums.push(num);
                }
            }
            nums.extend(self.state_of(room, root, newly).await?);
        }
        if wanted.lazy() {
            let mut speakers: Vec<&str> = timeline.events.iter().map(|(_, row)| row.sender()).collect();
            speakers.sort_unstable();
            speakers.dedup();
            for speaker in speakers {
                nums.extend(self.engine.state_at(room.num, root, "m.room.member", speaker).await?);
            }
        }
        nums.sort_unstable();
        nums.dedup();
        let rows = self.engine.events(room.num, &nums).await?;
        is_described_anew |= rows.iter().any(|(_, row)| is_member(row) && row.pos() > upto);
        Ok(WantedState { rows, is_described_anew })
    }

    /// The entries of a state that are wanted.
    async fn state_of(
        &self,
        room: &Room,
        root: engine::state_tree::NodeId,
        wanted: &Required,
    ) -> Result<Vec<EventNum>, ApiError> {
        let mut nums = Vec::new();
        if let Some(named) = wanted.named() {
            for (kind, key) in named {
                nums.extend(self.engine.state_at(room.num, root, kind, key).await?);
            }
        } else {
            let entries = self.engine.entries_at(room.num, root).await?;
            nums.extend(entries.into_iter().filter(|(kind, key, _)| wanted.wants(kind, key)).map(|(.., num)| num));
        }
        Ok(nums)
    }
}

/// State for a client.
struct WantedState {
    rows: Vec<(EventNum, EventRow)>,
    /// Name, picture or people have changed.
    is_described_anew: bool,
}

impl WantedState {
    /// Somebody's own departure, and no more.
    fn of(num: EventNum, row: EventRow) -> Self {
        Self { rows: vec![(num, row)], is_described_anew: false }
    }
}

/// Appends `"id":part` to the fields of an object.
pub(super) fn push_room(out: &mut String, id: &str, part: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    push_json_string(out, id);
    out.push(':');
    out.push_str(part);
}
