//! `summary` of a joined room: what clients name a room by where it has no name.

use engine::{MemberEntry, Membership, Room, Viewer};
use serde_json::json;

use crate::{ApiError, App};

/// Heroes, at most.
const HEROES: usize = 5;
/// Members looked at to find them, at most.
const LOOKED_AT: usize = 200;

impl App {
    pub(super) async fn summary(&self, room: &Room, viewer: &Viewer<'_>) -> Result<String, ApiError> {
        let info = room.info();
        let mut summary = json!({"m.joined_member_count": info.joined, "m.invited_member_count": info.invited});
        let named = self.engine.current(room.num, "m.room.name", "").await?.is_some()
            || self.engine.current(room.num, "m.room.canonical_alias", "").await?.is_some();
        if !named {
            let heroes = self.heroes(room, viewer).await?;
            let heroes: Vec<&str> = heroes.iter().map(|member| member.user_id.as_str()).collect();
            summary["m.heroes"] = json!(heroes);
        }
        Ok(summary.to_string())
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
