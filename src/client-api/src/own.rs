//! What belongs to one user alone, and who is in a room.

use std::sync::Arc;

use engine::{Membership, Room, UserNum, Viewer};
use http_kit::{MatrixError, Requester};
use ruma::{RoomId, UserId};

use crate::{ApiError, App};

/// Refuses whoever asks for another user's things.
///
/// # Errors
/// 403 `M_FORBIDDEN`.
pub(crate) fn only_own(requester: &Requester, user_id: &UserId) -> Result<(), ApiError> {
    if requester.user_id == *user_id {
        return Ok(());
    }
    Err(MatrixError::forbidden("This belongs to another user").into())
}

impl App {
    /// A room that the requester is in.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN`, also for rooms that do not exist.
    pub(crate) async fn room_joined_by<'a>(
        &self,
        room_id: &RoomId,
        requester: &'a Requester,
    ) -> Result<(Arc<Room>, Viewer<'a>), ApiError> {
        let (room, viewer) = self.room_of(room_id, requester).await?;
        if viewer.place.is_none_or(|place| place.membership != Membership::Join) {
            return Err(ApiError::not_in_room());
        }
        Ok((room, viewer))
    }

    /// Refuses rooms that the requester never had to do with: what is kept of rooms per user must not grow with whatever ids
    /// somebody makes up.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN`.
    pub(crate) async fn has_place(&self, room_id: &RoomId, requester: &Requester) -> Result<(), ApiError> {
        let (_, viewer) = self.room_of(room_id, requester).await?;
        viewer.place.map(|_| ()).ok_or_else(ApiError::not_in_room)
    }

    /// The user did something: they are here, and those who share a room with them may see that.
    pub(crate) async fn seen_active(&self, user: UserNum) -> Result<(), ApiError> {
        if self.config.presence && self.users.presence.active(user) {
            self.wake_sharers(user).await?;
        }
        Ok(())
    }
}
