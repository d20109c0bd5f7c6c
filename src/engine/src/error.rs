use room::{auth::AuthError, build::BuildError, pdu::PduError};
use store::{CommitError, InternError, StoreError};

use crate::policy::PolicyRefusal;

/// What the engine can answer instead of doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The room is not known here. (`M_NOT_FOUND`)
    #[error("unknown room")]
    UnknownRoom,
    /// The event is not known here, or not to this user. (`M_NOT_FOUND`)
    #[error("event not found")]
    UnknownEvent,
    /// The rules of the room do not allow it. (`M_FORBIDDEN`)
    #[error("{0}")]
    Forbidden(String),
    /// The room's policy server did not approve it. (Its own status, `errcode` and words)
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    /// The event or a field of it is too large. (`M_TOO_LARGE`)
    #[error("{0}")]
    TooLarge(String),
    /// The event is malformed. (`M_BAD_JSON`)
    #[error("{0}")]
    BadEvent(String),
    /// The room version is not supported. (`M_UNSUPPORTED_ROOM_VERSION`)
    #[error("room version {0} is not supported")]
    UnsupportedVersion(String),
    /// The alias is taken. (`M_ROOM_IN_USE`, `M_UNKNOWN`)
    #[error("the alias is taken")]
    AliasTaken,
    /// The room was entered a moment ago, and not all of its members are known yet; trying again will work.
    #[error("the room's members are not all known yet")]
    Partial,
    /// Another writer was faster; trying again may work.
    #[error("the room changed at the same time")]
    Conflict,
    /// The write's outcome is unknown, or the store has stopped. (500)
    #[error("the write did not complete: {0}")]
    Write(String),
    /// Reading failed. (500)
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored does not fit together. (500)
    #[error("the room's rows do not fit together: {0}")]
    Inconsistent(String),
}

impl From<CommitError> for EngineError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::Conflict,
            other => Self::Write(other.to_string()),
        }
    }
}

impl From<InternError> for EngineError {
    fn from(error: InternError) -> Self {
        match error {
            InternError::Store(error) => Self::Store(error),
            InternError::Commit(error) => error.into(),
        }
    }
}

impl From<AuthError> for EngineError {
    fn from(error: AuthError) -> Self {
        Self::Forbidden(error.to_string())
    }
}

impl From<BuildError> for EngineError {
    fn from(error: BuildError) -> Self {
        if error.is_too_large() { Self::TooLarge(error.to_string()) } else { Self::BadEvent(error.to_string()) }
    }
}

impl From<PduError> for EngineError {
    fn from(error: PduError) -> Self {
        Self::Inconsistent(error.to_string())
    }
}
