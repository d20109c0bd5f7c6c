//! Rooms and events that come whole from other servers: entering a room, events whose past is not here, older history.

use std::sync::Arc;

use ::room::check::ReceivedEvent;
use ruma::{OwnedEventId, RoomVersionId};

use crate::{engine::Engine, error::EngineError, receive::Received, room::Room};

/// What another server tells of a room that a user of ours has just entered.
#[derive(Debug, Clone)]
pub struct RemoteRoom {
    /// The room's version.
    pub version: RoomVersionId,
    /// The events that allow the state, in any order.
    pub auth_chain: Vec<ReceivedEvent>,
    /// The state before [`Self::event`], in any order.
    pub state: Vec<ReceivedEvent>,
    /// The event by which our user entered, signed by both servers where it has to be.
    pub event: ReceivedEvent,
}

impl Engine {
    /// Enters a room: its state and the events that allow it become outliers, the membership event its newest, in one commit. Where
    /// the room is known here already (left, or partly known), it goes on from there.
    ///
    /// # Errors
    /// [`EngineError::Forbidden`] where the rules refuse the event in this state, [`EngineError::BadEvent`] where events are missing or
    /// of another room; those of the store.
    pub async fn enter(&self, _room: RemoteRoom) -> Result<Arc<Room>, EngineError> {
        Err(EngineError::UnknownRoom)
    }

    /// Stores events of a room that nothing else is known of: judged by the events that they cite alone, in no order. Those whose auth
    /// events are neither here nor in the list are left out. Gives the ids that are here afterwards.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn receive_outliers(
        &self,
        _room: &Arc<Room>,
        _events: Vec<ReceivedEvent>,
    ) -> Result<Vec<OwnedEventId>, EngineError> {
        Err(EngineError::UnknownRoom)
    }

    /// Takes an event some of whose predecessors are not here: `state` names the state before it as another server says it is. All of
    /// that is here, as outliers or otherwise.
    ///
    /// # Errors
    /// As [`Engine::receive`].
    pub async fn receive_at(
        &self,
        _room: &Arc<Room>,
        _event: ReceivedEvent,
        _state: &[OwnedEventId],
    ) -> Result<Received, EngineError> {
        Err(EngineError::UnknownRoom)
    }

    /// Takes a stretch of older history, oldest first, each with what it follows in the list or here; `state` names the state before the
    /// first. The events get places before what is known, and none in the stream.
    ///
    /// # Errors
    /// As [`Engine::receive`].
    pub async fn receive_history(
        &self,
        _room: &Arc<Room>,
        _events: Vec<ReceivedEvent>,
        _state: &[OwnedEventId],
    ) -> Result<Vec<Received>, EngineError> {
        Err(EngineError::UnknownRoom)
    }
}
