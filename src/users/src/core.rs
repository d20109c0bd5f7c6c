use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, UserId};
use store::{Clock, Db, IdKind, Ids, StoreError};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    error::Result,
    tables::{RoomNum, UserNum},
};

/// Enough stripes that two users who write at once seldom wait for each other.
const LOCKS: usize = 1024;

/// What every part of this crate stands on.
pub(crate) struct Core {
    pub(crate) db: Arc<Db>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) server_name: OwnedServerName,
    locks: Box<[Mutex<()>; LOCKS]>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn new(
        db: Arc<Db>,
        ids: Arc<Ids>,
        clock: Arc<dyn Clock>,
        server_name: OwnedServerName,
    ) -> Arc<Self> {
        let locks = Box::new(std::array::from_fn(|_| Mutex::new(())));
        Arc::new(Self {
            db,
            ids,
            clock,
            server_name,
            locks,
        })
    }

    /// Held from reading what a user has to the commit of what becomes of it: a user has one owning node, so no two
    /// read-modify-writes of the same user's rows overlap. Never taken twice by one task.
    pub(crate) async fn lock(&self, user: UserNum) -> MutexGuard<'_, ()> {
        // In bounds: the remainder is below the array's length.
        self.locks[(user % LOCKS as u64) as usize].lock().await
    }

    pub(crate) async fn number(&self, user: &UserId) -> Result<UserNum> {
        Ok(self.ids.number(IdKind::User, user.as_str()).await?)
    }

    pub(crate) async fn room_number(&self, room: &RoomId) -> Result<RoomNum> {
        Ok(self.ids.number(IdKind::Room, room.as_str()).await?)
    }

    pub(crate) async fn user_id(&self, user: UserNum) -> Result<OwnedUserId> {
        let name = self
            .ids
            .name(IdKind::User, user)
            .await?
            .ok_or_else(|| missing("number_ids", "no such user number"))?;
        UserId::parse(&*name).map_err(|error| missing("number_ids", error).into())
    }

    pub(crate) async fn room_id(&self, room: RoomNum) -> Result<OwnedRoomId> {
        let name = self
            .ids
            .name(IdKind::Room, room)
            .await?
            .ok_or_else(|| missing("number_ids", "no such room number"))?;
        RoomId::parse(&*name).map_err(|error| missing("number_ids", error).into())
    }
}

pub(crate) fn missing(table: &'static str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        table,
        reason: reason.to_string(),
    }
}
