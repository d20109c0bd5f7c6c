//! Who may speak for a room towards the outside.

use engine::{Membership, Room};
use http_kit::Requester;
use ruma::events::TimelineEventType;

use crate::{ApiError, App};

impl App {
    /// Whether somebody may decide how a room is found: those in it who may name its main alias, and the server's
    /// administrators.
    pub(super) async fn may_publish(&self, room: &Room, requester: &Requester) -> Result<bool, ApiError> {
        if requester.admin {
            return Ok(true);
        }
        let viewer = self.engine.viewer(room.num, &requester.user_id, requester.user).await?;
        let membership = viewer.place.map_or(Membership::Leave, |place| place.membership).to_state();
        let info = room.info();
        Ok(info.auth.as_ref().is_some_and(|auth| {
            auth.can_send_state(&requester.user_id, &membership, &TimelineEventType::RoomCanonicalAlias, "").is_ok()
        }))
    }
}
