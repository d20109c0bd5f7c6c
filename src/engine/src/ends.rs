//! Where a room's history ends for now.

use ruma::OwnedEventId;

use crate::{engine::Engine, error::EngineError, room::Room, tables::HEADS};

impl Engine {
    /// The forward extremities: the events that no other one follows yet, in the order of their ids.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn extremities(&self, room: &Room) -> Result<Vec<OwnedEventId>, EngineError> {
        let head = self.db.get(&HEADS, &room.num).await?;
        let mut ends: Vec<_> = head.into_iter().flat_map(|head| head.extremities).map(|end| end.event_id).collect();
        ends.sort();
        Ok(ends)
    }
}

impl Engine {
    /// Rooms in memory that local users are in: those that something happened in lately.
    pub fn rooms_at_hand(&self) -> Vec<std::sync::Arc<Room>> {
        let rooms = self.rooms.iter().filter_map(|room| room.upgrade());
        rooms.filter(|room| !room.info().local_members.is_empty()).collect()
    }
}
