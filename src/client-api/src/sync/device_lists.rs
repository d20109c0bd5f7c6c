//! Whose devices a client has to look at again, and whose no more.
//! [Tracking the device list](https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user).
//!
//! It depends on states of rooms, not on what of them is shown: filters and lazily loaded members change nothing here.

use std::collections::BTreeSet;

use engine::{EngineError, EventNum, Membership, Room, RoomNum, RoomsOfUser, UserNum, UserRoom};
use ruma::UserId;
use store::{IdKind, Pos};

use super::assemble::Sharing;
use crate::{ApiError, App};

/// Users that are looked at to find with whom no room is shared any more, at most: to follow somebody for longer costs nobody much.
const MAX_LEFT: usize = 2000;

/// Users by their ids.
#[derive(Debug, Default)]
pub(crate) struct DeviceLists {
    pub(crate) changed: BTreeSet<String>,
    pub(crate) left: BTreeSet<String>,
}

impl DeviceLists {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

/// Who came to share a room with the user, and who perhaps shares none any more.
#[derive(Default)]
struct Moved {
    met: BTreeSet<String>,
    gone: BTreeSet<String>,
}

impl App {
    /// What changed since a position, up to now.
    pub(crate) async fn device_lists_since(&self, user: UserNum, after: Pos) -> Result<DeviceLists, ApiError> {
        let rooms = self.engine.user_rooms().of(user).await?;
        self.device_lists(user, after, self.engine.frontier(), &rooms).await
    }

    pub(super) async fn device_lists(
        &self,
        user: UserNum,
        after: Pos,
        to: Pos,
        rooms: &RoomsOfUser,
    ) -> Result<DeviceLists, ApiError> {
        let mut moved = Moved::default();
        for (num, place) in rooms.iter() {
            self.moved_in(*num, *place, (after, to), &mut moved).await?;
        }
        let changes = self.users.device_lists.changes(user, after, to).await?;
        let mut out = DeviceLists::default();
        if changes.is_empty() && moved.met.is_empty() && moved.gone.is_empty() {
            return Ok(out);
        }
        let sharing = self.sharing(rooms).await?;
        for (other, seen) in changes {
            let Some(id) = self.engine.ids.name(IdKind::User, other).await? else { continue };
            if seen || self.shares_with(&sharing, Some(other), &id).await? {
                out.changed.insert(id.to_string());
            }
        }
        for id in moved.gone.into_iter().take(MAX_LEFT) {
            let other = self.engine.ids.find(IdKind::User, &id).await?;
            if other != Some(user) && !self.shares_with(&sharing, other, &id).await? {
                out.left.insert(id);
            }
        }
        out.changed.extend(moved.met);
        Ok(out)
    }

    async fn shares_with(&self, sharing: &Sharing, user: Option<UserNum>, id: &str) -> Result<bool, ApiError> {
        if <&UserId>::try_from(id).is_ok_and(|id| self.engine.is_local(id)) {
            return Ok(user.is_some_and(|user| sharing.local.contains(&user)));
        }
        for room in &sharing.with_others {
            if self.engine.membership(*room, id).await? == Some(Membership::Join) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Who came to a room, and who left it, between two positions.
    async fn moved_in(
        &self,
        num: RoomNum,
        place: UserRoom,
        (after, to): (Pos, Pos),
        moved: &mut Moved,
    ) -> Result<(), ApiError> {
        let joined = place.membership == Membership::Join;
        if !joined && place.left <= after {
            return Ok(());
        }
        let room = match self.engine.room_by_num(num).await {
            Err(EngineError::UnknownRoom) => return Ok(()),
            room => room?,
        };
        if !joined {
            moved.gone.extend(self.joined_in(num).await?);
        } else if place.since > after || room.pulse.filled() > after {
            moved.met.extend(self.joined_in(num).await?);
        } else if room.pulse.timeline() > after {
            self.members_moved(&room, (after, to), moved).await?;
        }
        Ok(())
    }

    async fn joined_in(&self, room: RoomNum) -> Result<impl Iterator<Item = String>, ApiError> {
        let members = self.engine.members(room).await?;
        Ok(members.into_iter().filter(|member| member.membership == Membership::Join).map(|member| member.user_id))
    }

    async fn members_moved(&self, room: &Room, (after, to): (Pos, Pos), moved: &mut Moved) -> Result<(), ApiError> {
        let before = self.engine.root_at(room.num, after).await?;
        if before == room.info().root {
            return Ok(());
        }
        let now = self.engine.root_at(room.num, to).await?;
        for (kind, id, event) in self.engine.state_delta(room.num, before, now).await? {
            if kind != "m.room.member" {
                continue;
            }
            let was = match self.engine.state_at(room.num, before, &kind, &id).await? {
                Some(event) => self.engine.membership_of(room.num, event).await?,
                None => Membership::Leave,
            };
            match (was, self.engine.membership_of(room.num, event).await?) {
                (Membership::Join, Membership::Join) if self.stayed(room.num, event).await? => {}
                (_, Membership::Join) => drop(moved.met.insert(id)),
                (Membership::Join, _) => drop(moved.gone.insert(id)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether an event changed no more than how a member is shown.
    async fn stayed(&self, room: RoomNum, event: EventNum) -> Result<bool, ApiError> {
        let replaced = self.engine.event(room, event).await?.replaces();
        Ok(replaced != 0 && self.engine.membership_of(room, replaced).await? == Membership::Join)
    }
}
