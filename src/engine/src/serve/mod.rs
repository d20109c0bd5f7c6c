//! What other servers may read of rooms.

mod acl;
mod servers;

use ::room::SignedEvent;
use ruma::{EventId, OwnedEventId, ServerName};
use serde_json::value::RawValue;

use crate::{
    engine::Engine,
    error::EngineError,
    room::Room,
    row::EventRow,
    tables::EventNum,
    writer::{NewEvent, RoomWriter},
};

pub(crate) use self::servers::count as count_servers;
pub use self::{acl::ServerAcl, servers::ServerCounts};

/// The state before an event, and the events that allow it.
#[derive(Debug, Clone, Default)]
pub struct StateAt {
    /// The state.
    pub state: Vec<EventNum>,
    /// The auth chain of all of it.
    pub auth_chain: Vec<EventNum>,
}

impl Engine {
    /// Whether a server may see an event, by the history visibility at it and its users' memberships then and since.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn server_can_see(
        &self,
        _room: &Room,
        _server: &ServerName,
        _row: &EventRow,
    ) -> Result<bool, EngineError> {
        Err(EngineError::UnknownRoom)
    }

    /// An event as it goes to a server: whole where it may see it, redacted where it may not.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn pdu_for(
        &self,
        _room: &Room,
        _server: &ServerName,
        _row: &EventRow,
    ) -> Result<Box<RawValue>, EngineError> {
        Err(EngineError::UnknownRoom)
    }

    /// The state before an event.
    ///
    /// # Errors
    /// [`EngineError::UnknownEvent`], also where that state is not known; those of the store.
    pub async fn state_before_event(&self, _room: &Room, _event: &EventId) -> Result<StateAt, EngineError> {
        Err(EngineError::UnknownRoom)
    }

    /// Everything that allows these events, themselves left out.
    ///
    /// # Errors
    /// [`EngineError::UnknownEvent`] where part of it is not here; those of the store.
    pub async fn auth_chain(&self, _room: &Room, _events: &[EventNum]) -> Result<Vec<EventNum>, EngineError> {
        Err(EngineError::UnknownRoom)
    }

    /// History back from some events, themselves included where they are here: newest first, at most `limit`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn backfill(
        &self,
        _room: &Room,
        _from: &[OwnedEventId],
        _limit: usize,
    ) -> Result<Vec<(EventNum, EventRow)>, EngineError> {
        Err(EngineError::UnknownRoom)
    }

    /// The events between some that a server has (`earliest`) and some that it heard of (`latest`), neither included: walked back in
    /// breadth, at most `limit`, none below `min_depth`, in topological order, oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn missing_events(
        &self,
        _room: &Room,
        _earliest: &[OwnedEventId],
        _latest: &[OwnedEventId],
        _limit: usize,
        _min_depth: u64,
    ) -> Result<Vec<(EventNum, EventRow)>, EngineError> {
        Err(EngineError::UnknownRoom)
    }

    /// Those of these ids that are not here, in any form. Bounded by the caller.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn absent(&self, _room: &Room, _ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, EngineError> {
        Err(EngineError::UnknownRoom)
    }
}

impl RoomWriter<'_> {
    /// An event as it would be sent now, authorised, unsigned and not stored: the template that `make_join` and its like give. A JSON
    /// object without `hashes`, `signatures` and `event_id`.
    ///
    /// # Errors
    /// As [`RoomWriter::append`].
    pub async fn template(&mut self, _event: &NewEvent<'_>) -> Result<Box<RawValue>, EngineError> {
        Err(EngineError::UnknownRoom)
    }

    /// Authorises and signs an event without storing it: an invitation that the invited user's server still has to sign, a join
    /// that another server will take in.
    ///
    /// # Errors
    /// As [`RoomWriter::append`].
    pub async fn draft(&mut self, _event: &NewEvent<'_>) -> Result<SignedEvent, EngineError> {
        Err(EngineError::UnknownRoom)
    }
}
