//! Events of a room by when they were sent, as others in the room know them.
//! [Jumping to a date](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid).

use std::sync::Arc;

use engine::{Direction, Room};
use futures::future::join_all;
use ruma::{OwnedEventId, OwnedServerName};

use crate::{
    Federation,
    pdus::{Gap, PduError},
};

/// Servers asked, at most, all at once.
const ASKED: usize = 3;
/// Time that fetching the event may take, in milliseconds: somebody waits for it.
const MAX_TIME: u64 = 20_000;

impl Federation {
    /// The event that other servers in a room know closest to a time, in Unix milliseconds, at it or after it (`Forward`) or at it or
    /// before it (`Backward`), and when it was sent. It is fetched where it is not here.
    ///
    /// # Errors
    /// [`PduError`] where it cannot be had, and those of the engine.
    pub async fn timestamp_to_event(
        &self,
        room: &Arc<Room>,
        ts: u64,
        direction: Direction,
    ) -> Result<Option<(OwnedEventId, u64)>, PduError> {
        let servers: Vec<OwnedServerName> = self.engine.servers(room).await?.into_iter().take(ASKED).collect();
        let questions = servers.iter().map(|server| self.query_timestamp(server, &room.id, ts, direction));
        let answers = join_all(questions).await.into_iter().zip(&servers);
        let found = answers.filter_map(|(answer, server)| answer.ok().map(|(event_id, at)| (event_id, at, server)));
        let closest = match direction {
            Direction::Forward => found.min_by_key(|(_, at, _)| *at),
            Direction::Backward => found.max_by_key(|(_, at, _)| *at),
        };
        let Some((event_id, at, server)) = closest else { return Ok(None) };
        let gap = Gap::new(self, room, server, MAX_TIME).await?;
        let wanted = std::slice::from_ref(&event_id);
        if !gap.lacking(wanted).await?.is_empty() {
            let events = gap.events(wanted).await;
            // What the server says of the time is worth what the event says.
            if !events.iter().all(|event| u64::from(event.pdu.origin_server_ts.0) == at) {
                return Ok(None);
            }
            gap.take_history(events).await?;
        }
        Ok(Some((event_id, at)))
    }
}
