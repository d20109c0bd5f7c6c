//! `summary` of a joined room: what clients name a room by where it has no name.

use engine::{EventNum, EventRow, MemberEntry, Membership, Room, Viewer};
use serde_json::json;

use super::{section::RoomQuery, state::SectionState, timeline::Timeline};
use crate::{ApiError, App};

/// Heroes, at most.
const HEROES: usize = 5;
/// Members looked at to find them, at most.
const LOOKED_AT: usize = 200;

impl App {
    /// The summary, and the heroes in it.
    pub(super) async fn summary(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
    ) -> Result<(String, Vec<MemberEntry>), ApiError> {
        let info = room.info();
        let mut summary = json!({"m.joined_member_count": info.joined, "m.invited_member_count": info.invited});
        let named = self.text_of(room, "m.room.name", "name").await?.is_some()
            || self.text_of(room, "m.room.canonical_alias", "alias").await?.is_some();
        let heroes = if named { Vec::new() } else { self.heroes(room, viewer).await? };
        if !named {
            let names: Vec<&str> = heroes.iter().map(|member| member.user_id.as_str()).collect();
            summary["m.heroes"] = json!(names);
        }
        Ok((summary.to_string(), heroes))
    }

    /// The heroes' memberships that a client which is not told of all members is not told of otherwise.
    pub(super) async fn unseen_heroes(
        &self,
        room: &Room,
        heroes: &[MemberEntry],
        (timeline, state): (&Timeline, &SectionState),
        query: &RoomQuery<'_>,
    ) -> Result<Vec<(EventNum, EventRow)>, ApiError> {
        if !query.lazy || !query.state.room(&room.id) {
            return Ok(Vec::new());
        }
        let is_seen = |num: EventNum| timeline.shows(num) || state.rows.iter().any(|(other, _)| *other == num);
        let nums: Vec<EventNum> = heroes.iter().map(|hero| hero.num).filter(|num| !is_seen(*num)).collect();
        let rows = self.engine.events(room.num, &nums).await?;
        Ok(rows.into_iter().filter(|(_, row)| query.state.row(row)).collect())
    }

    /// Those by whom a room without a name is called: who is there or asked to come, and where nobody else is, who was.
    pub(super) async fn heroes(&self, room: &Room, viewer: &Viewer<'_>) -> Result<Vec<MemberEntry>, ApiError> {
        let members = self.engine.first_members(room.num, LOOKED_AT).await?;
        let others = members.into_iter().filter(|member| member.user_id != viewer.user_id.as_str());
        let (here, gone): (Vec<_>, Vec<_>) =
            others.partition(|member| matches!(member.membership, Membership::Join | Membership::Invite));
        let mut heroes = if here.is_empty() { gone } else { here };
        heroes.truncate(HEROES);
        Ok(heroes)
    }
}
