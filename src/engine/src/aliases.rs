//! Room aliases and the public directory of this server.

use ruma::{RoomId, UserId};
use serde::{Deserialize, Serialize};
use store::{Json, Page};

use crate::{
    engine::Engine,
    error::EngineError,
    room::Room,
    tables::{ALIASES, PUBLIC_ROOMS, ROOM_ALIASES, RoomNum},
    writer::RoomWriter,
};

/// What an alias points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRow {
    /// The room's id.
    pub room_id: String,
    /// Who made the alias.
    pub creator: String,
}

impl Engine {
    pub(crate) fn stage_alias(&self, writer: &mut RoomWriter<'_>, alias: &str, room_id: &RoomId, creator: &UserId) {
        let row = AliasRow { room_id: room_id.to_string(), creator: creator.to_string() };
        writer.require(ALIASES.absent(&alias.to_owned()));
        writer.op(ALIASES.put(&alias.to_owned(), &Json(row)));
        writer.op(ROOM_ALIASES.put(&(writer.room.num, alias.to_owned()), &()));
    }

    /// What an alias of this server points at.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn alias(&self, alias: &str) -> Result<Option<AliasRow>, EngineError> {
        Ok(self.db.get(&ALIASES, &alias.to_owned()).await?.map(|row| row.0))
    }

    /// Points a new alias at a room.
    ///
    /// # Errors
    /// [`EngineError::AliasTaken`], and those of the store.
    pub async fn set_alias(&self, alias: &str, room: &Room, creator: &UserId) -> Result<(), EngineError> {
        let row = AliasRow { room_id: room.id.to_string(), creator: creator.to_string() };
        let mut write = self.db.write();
        write.require(ALIASES.absent(&alias.to_owned()));
        write.put(&ALIASES, &alias.to_owned(), &Json(row));
        write.put(&ROOM_ALIASES, &(room.num, alias.to_owned()), &());
        write.commit().await.map_err(|error| match error {
            store::CommitError::Conflict => EngineError::AliasTaken,
            other => other.into(),
        })
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// [`EngineError::UnknownRoom`] where it points at none, and those of the store.
    pub async fn remove_alias(&self, alias: &str) -> Result<(), EngineError> {
        let row = self.alias(alias).await?.ok_or(EngineError::UnknownRoom)?;
        let mut write = self.db.write();
        if let Ok(room_id) = <&RoomId>::try_from(row.room_id.as_str())
            && let Ok(room) = self.room(room_id).await
        {
            write.delete(&ROOM_ALIASES, &(room.num, alias.to_owned()));
        }
        write.delete(&ALIASES, &alias.to_owned());
        Ok(write.commit().await?)
    }

    /// The aliases that point at a room.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn aliases_of(&self, room: RoomNum) -> Result<Vec<String>, EngineError> {
        let rows = self.db.scan_all(&ROOM_ALIASES, &room).await?;
        Ok(rows.into_iter().map(|((_, alias), ())| alias).collect())
    }

    /// Whether a room is in the public directory.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_public(&self, room: RoomNum) -> Result<bool, EngineError> {
        Ok(self.db.get(&PUBLIC_ROOMS, &room).await?.is_some())
    }

    /// Lists a room in the public directory, or takes it out.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn set_public(&self, room: RoomNum, public: bool) -> Result<(), EngineError> {
        let mut write = self.db.write();
        write.op(if public { PUBLIC_ROOMS.put(&room, &()) } else { PUBLIC_ROOMS.delete(&room) });
        Ok(write.commit().await?)
    }

    /// A page of the rooms in the public directory behind a room, in the order of their numbers.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn public_rooms(&self, after: RoomNum, limit: usize) -> Result<Vec<RoomNum>, EngineError> {
        let rows = self.db.scan(&PUBLIC_ROOMS, &(after.saturating_add(1)), &u64::MAX, Page::first(limit)).await?;
        Ok(rows.into_iter().map(|(room, ())| room).collect())
    }
}
