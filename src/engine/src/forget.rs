//! Users forget rooms that they have left.

use std::sync::Arc;

use store::{Outcome, Precondition, Value};

use crate::{
    engine::Engine,
    error::EngineError,
    room::Room,
    tables::{USER_ROOMS, UserNum},
    user_rooms::{Membership, UserRoom},
};

impl Engine {
    /// A user who is not in a room does not want to be told of it any more, until they are invited or join again. Gives back
    /// the membership: only who left or is banned can forget, for others nothing happens; `None` for who never was there.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget(&self, room: &Arc<Room>, user: UserNum) -> Result<Option<Membership>, EngineError> {
        // Under the room's lock, so that no change of the membership is overwritten.
        let writer = self.write(room).await?;
        let key = (user, room.num);
        let Some(row) = writer.head()?.overlay.get(&self.db, &USER_ROOMS, &key).await? else { return Ok(None) };
        if !matches!(row.membership, Membership::Leave | Membership::Ban) || row.forgotten {
            return Ok(Some(row.membership));
        }
        let before = Precondition::Equals(USER_ROOMS.keyspace, USER_ROOMS.key(&key), row.encode());
        let row = UserRoom { forgotten: true, ..row };
        let mut write = self.db.write();
        write.require(before);
        write.put(&USER_ROOMS, &key, &row);
        let (view, num) = (self.view(), room.num);
        write.on_done(move |outcome| {
            if outcome == Outcome::Done {
                view.user_room(user, num, row);
            }
        });
        write.commit().await?;
        Ok(Some(row.membership))
    }
}
