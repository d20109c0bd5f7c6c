//! What the endpoints share by which other servers read rooms: who may read, and answers made of events as they are stored.

use std::{sync::Arc, time::Duration};

use engine::{EngineError, EventNum, EventRow, Room, Verdict};
use http::StatusCode;
use http_kit::{MatrixError, RawJson, route_error};
use ruma::{EventId, RoomId, ServerName};
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::Federation;

/// The largest answer, in bytes.
pub(super) const MAX_ANSWER: usize = 128 << 20;
/// Events read at once.
const BATCH: usize = 500;
/// Whole states that are put together at the same time: each may be as large as an answer can be.
const AT_ONCE: usize = 2;
/// The longest wait for members that are not known yet.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a server gets nothing to read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("This server does not know the room")]
    UnknownRoom,
    #[error("Your server is not in the room")]
    NotInRoom,
    #[error("The room's access control list keeps your server out")]
    Denied,
    #[error("This server does not know the event, or not what was before it")]
    UnknownEvent,
    #[error("The answer would be larger than {MAX_ANSWER} bytes: ask for ids, and for the events one by one")]
    TooLarge,
    #[error(transparent)]
    Engine(EngineError),
}

impl From<EngineError> for RouteError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::UnknownRoom => Self::UnknownRoom,
            EngineError::UnknownEvent => Self::UnknownEvent,
            other => Self::Engine(other),
        }
    }
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::UnknownRoom | RouteError::UnknownEvent => Self::not_found(error.to_string()),
            RouteError::NotInRoom | RouteError::Denied => Self::forbidden(error.to_string()),
            RouteError::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", error.to_string()),
            RouteError::Engine(error) => Self::internal(error),
        }
    }
}

route_error!(RouteError);

/// Places for large answers.
#[derive(Debug)]
pub(crate) struct LargeAnswers(Semaphore);

impl Default for LargeAnswers {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Federation {
    /// A place among those who put together a large answer, waited for.
    pub(super) async fn large_answer(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.inbound.large_answers.0.acquire().await.ok()
    }

    /// A room for a server that takes part in it and that its access control list lets in.
    pub(super) async fn room_for(&self, room_id: &RoomId, server: &ServerName) -> Result<Arc<Room>, RouteError> {
        let room = self.engine.room(room_id).await?;
        if !self.engine.acl_allows(&room, server).await? {
            return Err(RouteError::Denied);
        }
        if !self.engine.takes_part(&room, server).await? {
            return Err(RouteError::NotInRoom);
        }
        Ok(room)
    }

    /// An event of a room that is part of it or was once: not what the rules refused.
    pub(super) async fn known_event(&self, room: &Room, id: &EventId) -> Result<(EventNum, EventRow), RouteError> {
        let num = self.engine.find_event(room.num, id.as_str()).await?.ok_or(RouteError::UnknownEvent)?;
        let row = self.engine.event(room.num, num).await?;
        if row.verdict() == Verdict::Rejected {
            return Err(RouteError::UnknownEvent);
        }
        Ok((num, row))
    }

    /// An event before which the state is asked for: members that are missing from that are waited for.
    pub(super) async fn known_state(&self, room: &Room, id: &EventId) -> Result<(), RouteError> {
        let (_, row) = self.known_event(room, id).await?;
        if row.partial_state() && self.engine.whole(room, PATIENCE).await.is_err() {
            return Err(RouteError::UnknownEvent);
        }
        Ok(())
    }

    /// Appends events by their numbers, whole, separated by commas.
    pub(super) async fn write_events(
        &self,
        out: &mut String,
        room: &Room,
        nums: &[EventNum],
    ) -> Result<(), RouteError> {
        let mut first = true;
        for batch in nums.chunks(BATCH) {
            for (_, row) in self.engine.events(room.num, batch).await? {
                if out.len() + row.json().len() > MAX_ANSWER {
                    return Err(RouteError::TooLarge);
                }
                separate(out, &mut first);
                out.push_str(row.json());
            }
        }
        Ok(())
    }

    /// Appends the ids of events by their numbers, as JSON strings, separated by commas.
    pub(super) async fn write_ids(&self, out: &mut String, room: &Room, nums: &[EventNum]) -> Result<(), RouteError> {
        let mut first = true;
        for batch in nums.chunks(BATCH) {
            for (_, row) in self.engine.events(room.num, batch).await? {
                if out.len() + row.event_id().len() > MAX_ANSWER {
                    return Err(RouteError::TooLarge);
                }
                separate(out, &mut first);
                engine::splice::push_json_string(out, row.event_id());
            }
        }
        Ok(())
    }

    /// Appends events as a server may see them: whole or redacted.
    pub(super) async fn write_visible(
        &self,
        out: &mut String,
        room: &Room,
        server: &ServerName,
        rows: &[(EventNum, EventRow)],
    ) -> Result<(), RouteError> {
        let mut first = true;
        for pdu in self.engine.pdus_for(room, server, rows).await? {
            separate(out, &mut first);
            out.push_str(pdu.get());
        }
        Ok(())
    }

    /// The beginning of an answer in the shape of a transaction, up to its list of events.
    pub(super) fn transaction_head(&self) -> String {
        let origin = json!(self.server_name());
        format!("{{\"origin\":{origin},\"origin_server_ts\":{},\"pdus\":[", self.clock.now_ms())
    }
}

/// The end of an answer that is a list in an object.
pub(super) fn closed(mut out: String) -> RawJson {
    out.push_str("]}");
    RawJson(out.into())
}

fn separate(out: &mut String, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(',');
    }
}
