use engine::EngineError;
use room::check::CheckError;
use ruma::OwnedEventId;

use crate::error::CallError;

/// Why an event of another server was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PduError {
    /// It is not genuine: its size, form, signature or hash.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// It belongs to another room than the one it was given for, or is not the event that was asked for.
    #[error("not the event that was asked for")]
    Unrelated,
    /// What it follows or cites cannot be had.
    #[error("{} events that it follows or cites are missing, {first} among them", .count)]
    Missing {
        /// How many.
        count: usize,
        /// One of them.
        first: OwnedEventId,
    },
    /// Too much is under way in its room.
    #[error("too many events of the room wait already")]
    Busy,
    /// No server gave what was asked for.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The engine refused it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
