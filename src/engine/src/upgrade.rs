//! What a room hands over to the one that replaces it.

use store::{Json, Precondition, Value};

use crate::{
    aliases::AliasRow,
    error::EngineError,
    room::Room,
    tables::{ALIASES, PUBLIC_ROOMS, ROOM_ALIASES},
    writer::RoomWriter,
};

impl RoomWriter<'_> {
    /// Points the room's aliases at its replacement and takes the room out of the public directory, in this commit. The
    /// commit is dropped as a [conflict](EngineError::Conflict) where one of the aliases changes at the same time.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn hand_over(&mut self, replacement: &Room) -> Result<(), EngineError> {
        for alias in self.engine.aliases_of(self.room.num).await? {
            let Some(row) = self.engine.alias(&alias).await? else { continue };
            let moved = AliasRow { room_id: replacement.id.to_string(), creator: row.creator.clone() };
            self.require(Precondition::Equals(ALIASES.keyspace, ALIASES.key(&alias), Json(row).encode()));
            self.op(ALIASES.put(&alias, &Json(moved)));
            self.op(ROOM_ALIASES.delete(&(self.room.num, alias.clone())));
            self.op(ROOM_ALIASES.put(&(replacement.num, alias), &()));
        }
        self.op(PUBLIC_ROOMS.delete(&self.room.num));
        Ok(())
    }
}
