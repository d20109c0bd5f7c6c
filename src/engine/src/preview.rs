//! What shows a room to those who are not in it yet.
//! [Stripped state](https://spec.matrix.org/v1.19/client-server-api/#stripped-state).

use ruma::UserId;
use serde_json::value::RawValue;

use crate::{effects::STRIPPED, engine::Engine, error::EngineError, room::Room};

/// The largest event that is shown, in bytes; the create event is shown whatever its size.
const LARGEST: usize = 8192;

impl Engine {
    /// The events of the current state that show the room to an invited or knocking user of another server, whole; with the inviter's
    /// membership where there is one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn preview(&self, room: &Room, inviter: Option<&UserId>) -> Result<Vec<Box<RawValue>>, EngineError> {
        let kinds = STRIPPED.iter().map(|kind| (*kind, ""));
        let inviter = inviter.map(|user_id| ("m.room.member", user_id.as_str()));
        let mut out = Vec::new();
        for (kind, key) in kinds.chain(inviter) {
            let Some(row) = self.current_event(room.num, kind, key).await? else { continue };
            if row.json().len() <= LARGEST || kind == "m.room.create" {
                let event = RawValue::from_string(row.json().to_owned());
                out.push(event.map_err(|error| EngineError::Inconsistent(error.to_string()))?);
            }
        }
        Ok(out)
    }
}
