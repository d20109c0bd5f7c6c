//! Several entries of the current state in one read.

use crate::{
    engine::Engine,
    error::EngineError,
    row::EventRow,
    tables::{CURRENT, RoomNum},
};

impl Engine {
    /// The events of entries of the current state, given as types and state keys, in the order asked for; `None` where there
    /// is no such entry. Two reads, however many there are.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn current_entries(
        &self,
        room: RoomNum,
        entries: &[(&str, &str)],
    ) -> Result<Vec<Option<EventRow>>, EngineError> {
        let keys: Vec<_> = entries.iter().map(|(kind, key)| (room, (*kind).to_owned(), (*key).to_owned())).collect();
        let found = self.db.multi_get(&CURRENT, &keys).await?;
        let nums: Vec<_> = found.iter().flatten().map(|row| row.num).collect();
        let events = self.events(room, &nums).await?;
        let event = |num| events.iter().find(|(there, _)| *there == num).map(|(_, row)| row.clone());
        Ok(found.into_iter().map(|row| row.and_then(|row| event(row.num))).collect())
    }
}
