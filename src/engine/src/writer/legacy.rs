//! What events of room versions 1 and 2 need besides: an id of their own, and the hashes of what they refer to.

use std::collections::HashMap;

use ::room::{build::MAX_PREV_EVENTS, check};
use ruma::{CanonicalJsonObject, EventId, OwnedEventId, events::StateEventType};

use super::RoomWriter;
use crate::{error::EngineError, head::StateRef, tables::EventNum};

/// The id of a new event and the reference hashes of those it refers to.
pub(super) struct Legacy {
    pub(super) event_id: OwnedEventId,
    pub(super) hashes: HashMap<OwnedEventId, String>,
}

impl RoomWriter<'_> {
    /// `None` from version 3 on.
    pub(super) async fn legacy(
        &self,
        auth_events: &[(StateEventType, String, StateRef)],
    ) -> Result<Option<Legacy>, EngineError> {
        if !self.room.rules.event_format.require_event_id {
            return Ok(None);
        }
        let row = &self.head()?.row;
        let prev = row.extremities.iter().take(MAX_PREV_EVENTS).map(|end| end.num);
        let cited = auth_events.iter().map(|(_, _, found)| found.num);
        let mut hashes = HashMap::new();
        for num in prev.chain(cited).collect::<Vec<EventNum>>() {
            let row = self.event_row(num).await?;
            let object: CanonicalJsonObject =
                serde_json::from_str(row.json()).map_err(|error| EngineError::Inconsistent(error.to_string()))?;
            let (id, hash) = check::event_id(&object, &self.room.rules)
                .map_err(|error| EngineError::Inconsistent(error.to_string()))?;
            hashes.insert(id, hash);
        }
        let server = &self.engine.identity.server_name;
        let (now, num) = (self.engine.unique_now(), row.next_num);
        let event_id = EventId::parse(format!("${now}x{}x{num}:{server}", self.room.num))
            .map_err(|error| EngineError::Inconsistent(error.to_string()))?;
        Ok(Some(Legacy { event_id, hashes }))
    }
}
