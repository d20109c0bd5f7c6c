//! What a service is told of: events in rooms that its namespaces name or that one of its users is in, and events about them.
//! [Registration](https://spec.matrix.org/v1.19/application-service-api/#registration).

use std::{collections::BTreeSet, sync::Arc};

use auth::appservices::Registration;
use engine::{EngineError, EventRow, Membership, Room, RoomNum, UserNum, state_tree::NodeId};
use quick_cache::sync::Cache;
use ruma::UserId;

use crate::services::Services;

/// Rooms whose members of a service are at hand.
const ROOMS_KEPT: usize = 10_000;
/// Rooms of a user that are looked at for one that a service is interested in.
const MAX_ROOMS: usize = 200;

/// The users of a service in a room, by a state of it.
#[derive(Debug, Clone)]
struct Members {
    root: NodeId,
    joined: BTreeSet<String>,
}

/// Members of services in rooms: by the service's place and the room.
#[derive(Debug)]
pub(crate) struct MembersKept(Cache<(usize, RoomNum), Arc<Members>>);

impl Default for MembersKept {
    fn default() -> Self {
        Self(Cache::new(ROOMS_KEPT))
    }
}

/// Whether a service acts as a user, given as text.
pub(crate) fn acts_as(service: &Registration, user_id: &str) -> bool {
    <&UserId>::try_from(user_id).is_ok_and(|user_id| service.acts_as(user_id))
}

impl Services {
    /// Whether a service is told of an event: judged by the state that the room had before it, not by today's, so that it makes no
    /// difference when the service is told.
    pub(crate) async fn is_interested(
        &self,
        (index, service): (usize, &Registration),
        room: &Room,
        row: &EventRow,
    ) -> Result<bool, EngineError> {
        if acts_as(service, row.sender()) {
            return Ok(true);
        }
        let about = row.state_key().filter(|_| row.type_json() == "\"m.room.member\"");
        if about.is_some_and(|user_id| acts_as(service, &user_id)) {
            return Ok(true);
        }
        self.follows((index, service), room, row.state_before()).await
    }

    /// Whether a service is told of what happens in a room as it is now.
    pub(crate) async fn follows_now(&self, service: (usize, &Registration), room: &Room) -> Result<bool, EngineError> {
        self.follows(service, room, room.info().root).await
    }

    async fn follows(
        &self,
        (index, service): (usize, &Registration),
        room: &Room,
        root: NodeId,
    ) -> Result<bool, EngineError> {
        let namespaces = &service.namespaces;
        if namespaces.rooms.has(room.id.as_str()) {
            return Ok(true);
        }
        if !namespaces.aliases.is_empty() {
            let aliases = self.engine.aliases_of(room.num).await?;
            if aliases.iter().any(|alias| namespaces.aliases.has(alias)) {
                return Ok(true);
            }
        }
        Ok(!self.members((index, service), room.num, root).await?.joined.is_empty())
    }

    /// The users of a service who are in a room by a state of it. Read from what changed since the state that was asked for last.
    async fn members(
        &self,
        (index, service): (usize, &Registration),
        room: RoomNum,
        root: NodeId,
    ) -> Result<Arc<Members>, EngineError> {
        let key = (index, room);
        let known = self.members_kept.0.get(&key);
        if let Some(known) = known.as_ref().filter(|known| known.root == root) {
            return Ok(Arc::clone(known));
        }
        let (from, mut joined) =
            known.map_or((NodeId::EMPTY, BTreeSet::new()), |known| (known.root, known.joined.clone()));
        for (user_id, num) in self.engine.member_changes(room, from, root).await? {
            if !acts_as(service, &user_id) {
                continue;
            }
            let is_in = match num {
                Some(num) => self.engine.membership_of(room, num).await? == Membership::Join,
                None => false,
            };
            if is_in {
                joined.insert(user_id);
            } else {
                joined.remove(&user_id);
            }
        }
        let members = Arc::new(Members { root, joined });
        self.members_kept.0.insert(key, Arc::clone(&members));
        Ok(members)
    }

    /// Whether a service is told whether a user is online: one of its own, or one who shares a room with it.
    pub(crate) async fn knows(
        &self,
        (index, service): (usize, &Registration),
        user: UserNum,
        user_id: &UserId,
    ) -> Result<bool, EngineError> {
        if service.acts_as(user_id) {
            return Ok(true);
        }
        let rooms = self.engine.user_rooms().of(user).await?;
        let joined = rooms.iter().filter(|(_, place)| place.membership == Membership::Join);
        for (room, _) in joined.take(MAX_ROOMS) {
            let room = match self.engine.room_by_num(*room).await {
                Err(EngineError::UnknownRoom) => continue,
                other => other?,
            };
            if self.follows_now((index, service), &room).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
