//! What other servers tell that is not part of a room's history. Each is checked to speak of the sending server's own users; what is
//! malformed or of an unknown kind is passed over. [EDUs](https://spec.matrix.org/v1.19/server-server-api/#edus).

mod device_list;
mod presence;
mod receipt;
mod to_device;
mod typing;

use std::sync::Arc;

use engine::{EngineError, Membership, Room, UserNum};
use ruma::{RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{IdKind, StoreError};

use crate::Federation;

/// Users that are looked for in each room, at most.
const MAX_LOOKED_FOR: usize = 20;

#[derive(Deserialize)]
struct Edu<'a> {
    #[serde(borrow)]
    edu_type: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    content: &'a RawValue,
}

impl Federation {
    /// Applies what another server tells in one transaction, all of it whatever becomes of a part.
    ///
    /// # Errors
    /// Where a message for a device could not be kept: its sender has to send it again. Anything else is true for a moment only, or is
    /// found out otherwise, and is logged.
    pub(crate) async fn take_edus(&self, origin: &ServerName, edus: &[Box<RawValue>]) -> Result<(), EngineError> {
        let (mut taken, mut presence) = (Ok(()), presence::Updates::default());
        for edu in edus {
            let Ok(edu) = serde_json::from_str::<Edu<'_>>(edu.get()) else { continue };
            if edu.edu_type == "m.presence" {
                presence.add(edu.content);
            } else {
                taken = taken.and(self.take_edu(origin, edu).await);
            }
        }
        if let Err(error) = self.take_presence(origin, presence).await {
            tracing::warn!(%origin, %error, "what another server told of presence could not be applied");
        }
        taken
    }

    async fn take_edu(&self, origin: &ServerName, edu: Edu<'_>) -> Result<(), EngineError> {
        let Edu { edu_type, content } = edu;
        let taken = match &*edu_type {
            "m.typing" => self.take_typing(origin, content).await,
            "m.receipt" => self.take_receipts(origin, content).await,
            "m.direct_to_device" => self.take_to_device(origin, content).await,
            "m.device_list_update" => self.take_list_update(origin, content).await,
            "m.signing_key_update" => self.take_signing_update(origin, content).await,
            _ => Ok(()),
        };
        if let Err(error) = &taken {
            tracing::warn!(%origin, %edu_type, %error, "what another server told could not be applied");
        }
        if edu_type == "m.direct_to_device" { taken } else { Ok(()) }
    }

    /// A room that is known here and whose access control lets a server in.
    async fn room_open_to(&self, origin: &ServerName, room_id: &str) -> Result<Option<Arc<Room>>, EngineError> {
        let Ok(room_id) = <&RoomId>::try_from(room_id) else { return Ok(None) };
        let room = match self.engine.room(room_id).await {
            Err(EngineError::UnknownRoom) => return Ok(None),
            room => room?,
        };
        let is_open = !room.info().local_members.is_empty() && self.engine.acl_allows(&room, origin).await?;
        Ok(is_open.then_some(room))
    }

    /// The number of a user of a server who is joined in a room.
    async fn member_of(&self, origin: &ServerName, room: &Room, user_id: &str) -> Result<Option<UserNum>, EngineError> {
        let ours = self.user_of(origin, user_id).await?;
        let membership = self.engine.membership(room.num, user_id).await?;
        Ok(ours.filter(|_| membership == Some(Membership::Join)))
    }

    /// The number of a user of a server, where it is known here at all.
    async fn user_of(&self, origin: &ServerName, user_id: &str) -> Result<Option<UserNum>, StoreError> {
        match <&UserId>::try_from(user_id) {
            Ok(id) if id.server_name() == origin => self.engine.ids.find(IdKind::User, user_id).await,
            _ => Ok(None),
        }
    }

    fn wake_room(&self, room: &Room) {
        for user in room.info().local_members.iter() {
            self.db.notifier().wake(*user);
        }
    }

    /// Wakes the local users who are in a room with one of these users of another server. Rooms in which that does not take part are not
    /// looked at; where there are many users, the others are woken without a look at who is in which.
    async fn wake_those_who_see(&self, origin: &ServerName, user_ids: &[String]) -> Result<(), EngineError> {
        let Some(server) = self.engine.ids.find(IdKind::Server, origin.as_str()).await? else { return Ok(()) };
        if user_ids.is_empty() {
            return Ok(());
        }
        for room in self.engine.rooms_at_hand() {
            let info = room.info();
            // Of a room that was just entered not all servers may be known.
            if !info.partial && info.servers.binary_search(&server).is_err() {
                continue;
            }
            let mut is_seen = user_ids.len() > MAX_LOOKED_FOR;
            for user_id in user_ids.iter().take(MAX_LOOKED_FOR) {
                is_seen = is_seen || self.engine.membership(room.num, user_id).await? == Some(Membership::Join);
            }
            if is_seen {
                self.wake_room(&room);
            }
        }
        Ok(())
    }
}
