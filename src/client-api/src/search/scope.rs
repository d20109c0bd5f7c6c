//! Where a user may look for something.

use std::collections::{HashMap, HashSet};

use engine::{EngineError, Membership, RoomNum, UserNum};
use http_kit::Requester;
use ruma::{OwnedRoomId, OwnedUserId, api::client::filter::RoomEventFilter};
use search::Stay;
use store::IdKind;

use crate::{ApiError, App};

/// Rooms that came before a room by upgrades, at most.
const PREDECESSORS: usize = 10;
/// Rooms and users that a filter may name, at most.
pub(super) const MAX_NAMED: usize = 1000;

impl App {
    /// The rooms that a user is or was in and a filter lets through, with the stays in them. Of a room that the filter names, those that it
    /// came to replace are part, where the user was there.
    pub(super) async fn rooms_to_search(
        &self,
        requester: &Requester,
        filter: &RoomEventFilter,
    ) -> Result<HashMap<RoomNum, Stay>, ApiError> {
        let places = self.engine.user_rooms().of(requester.user).await.map_err(EngineError::from)?;
        let stay = |num: &RoomNum| {
            let place = places.get(num).filter(|place| !place.forgotten)?;
            let joined = place.membership == Membership::Join;
            (joined || place.left > 0).then_some(Stay { joined, since: place.since, left: place.left })
        };
        let mut rooms: HashMap<RoomNum, Stay> = match &filter.rooms {
            None => places.keys().filter_map(|num| Some((*num, stay(num)?))).collect(),
            Some(wanted) => {
                let mut rooms = HashMap::new();
                for num in self.room_nums_of(wanted).await? {
                    let mut next = Some(num);
                    for _ in 0..=PREDECESSORS {
                        let Some((num, stay)) = next.and_then(|num| Some((num, stay(&num)?))) else { break };
                        if rooms.insert(num, stay).is_some() {
                            break;
                        }
                        next = self.replaced_by(num).await?;
                    }
                }
                rooms
            }
        };
        for num in self.room_nums_of(&filter.not_rooms).await? {
            rooms.remove(&num);
        }
        Ok(rooms)
    }

    async fn room_nums_of(&self, ids: &[OwnedRoomId]) -> Result<Vec<RoomNum>, ApiError> {
        let mut nums = Vec::with_capacity(ids.len());
        for id in ids {
            nums.extend(self.engine.ids.find(IdKind::Room, id.as_str()).await.map_err(EngineError::from)?);
        }
        Ok(nums)
    }

    /// The room that a room came to replace, where it is here.
    async fn replaced_by(&self, num: RoomNum) -> Result<Option<RoomNum>, ApiError> {
        let room = self.engine.room_by_num(num).await?;
        let before = self.predecessor(&room).await?;
        Ok(self.room_nums_of(&Vec::from_iter(before)).await?.pop())
    }

    /// The numbers of those of some users that this server has heard of.
    pub(super) async fn user_nums_of(&self, ids: &[OwnedUserId]) -> Result<HashSet<UserNum>, ApiError> {
        let mut nums = HashSet::with_capacity(ids.len());
        for id in ids {
            nums.extend(self.engine.ids.find(IdKind::User, id.as_str()).await.map_err(EngineError::from)?);
        }
        Ok(nums)
    }
}
