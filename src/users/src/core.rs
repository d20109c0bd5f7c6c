use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, UserId};
use store::{Clock, CommitError, Db, DbWrite, IdKind, Ids, Outcome, Pos, StoreError};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    error::Result,
    tables::{RoomNum, UserNum},
};

/// Enough stripes that two users who write at once seldom wait for each other.
const LOCKS: usize = 1024;

/// See [`Core::lock`].
pub(crate) type UserLock = OwnedMutexGuard<()>;

/// What every part of this crate stands on.
pub(crate) struct Core {
    pub(crate) db: Arc<Db>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) server_name: OwnedServerName,
    locks: Box<[Arc<Mutex<()>>; LOCKS]>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn new(db: Arc<Db>, ids: Arc<Ids>, clock: Arc<dyn Clock>, server_name: OwnedServerName) -> Arc<Self> {
        let locks = Box::new(std::array::from_fn(|_| Arc::default()));
        Arc::new(Self { db, ids, clock, server_name, locks })
    }

    /// Held from reading what a user has to the commit of what becomes of it: a user has one owning node, so no two
    /// read-modify-writes of the same user's rows overlap. Never taken twice by one task.
    pub(crate) async fn lock(&self, user: UserNum) -> UserLock {
        // In bounds: the remainder is below the array's length.
        let lock = &self.locks[(user % LOCKS as u64) as usize];
        Arc::clone(lock).lock_owned().await
    }

    /// Commits what was made under a lock. The lock ends with the commit and not with the caller, who may be dropped
    /// while the commit is on its way. `done` runs before readers see the commit.
    pub(crate) async fn commit(
        &self,
        lock: UserLock,
        mut write: DbWrite<'_>,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<(), CommitError> {
        write.on_done(release(lock, done));
        write.commit().await
    }

    /// As [`Core::commit`], with stream positions of which `build` and `done` get the first.
    pub(crate) async fn commit_at(
        &self,
        lock: UserLock,
        positions: u64,
        build: impl FnOnce(Pos, &mut DbWrite<'_>),
        done: impl FnOnce(Pos) + Send + 'static,
    ) -> Result<Pos, CommitError> {
        let ticket = self.db.enqueue_at(positions, move |first, mut write| {
            build(first, &mut write);
            write.on_done(release(lock, move || done(first)));
            write
        });
        Ok(ticket.await?.pos)
    }

    pub(crate) async fn number(&self, user: &UserId) -> Result<UserNum> {
        Ok(self.ids.number(IdKind::User, user.as_str()).await?)
    }

    pub(crate) async fn room_number(&self, room: &RoomId) -> Result<RoomNum> {
        Ok(self.ids.number(IdKind::Room, room.as_str()).await?)
    }

    pub(crate) async fn user_id(&self, user: UserNum) -> Result<OwnedUserId> {
        let name =
            self.ids.name(IdKind::User, user).await?.ok_or_else(|| missing("number_ids", "no such user number"))?;
        UserId::parse(&*name).map_err(|error| missing("number_ids", error).into())
    }

    pub(crate) async fn room_id(&self, room: RoomNum) -> Result<OwnedRoomId> {
        let name =
            self.ids.name(IdKind::Room, room).await?.ok_or_else(|| missing("number_ids", "no such room number"))?;
        RoomId::parse(&*name).map_err(|error| missing("number_ids", error).into())
    }
}

/// What runs at the end of a commit made under a lock.
pub(crate) fn release(lock: UserLock, done: impl FnOnce() + Send) -> impl FnOnce(Outcome) + Send {
    move |outcome| {
        if outcome == Outcome::Done {
            done();
        }
        drop(lock);
    }
}

pub(crate) fn missing(table: &'static str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { table, reason: reason.to_string() }
}
