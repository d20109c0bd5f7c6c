use store::{CommitError, StoreError};
use users::UsersError;

use crate::SourceError;

/// Why a pusher cannot be set, or its notifications not be sent.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// A field of the pusher cannot be taken (400 `M_INVALID_PARAM`).
    #[error("{field}: {why}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// Why.
        why: String,
    },
    /// The user has as many pushers as are allowed (400 `M_UNKNOWN`).
    #[error("you have {0} pushers already: remove one first")]
    TooMany(usize),
    /// The device that asks is gone (401 `M_UNKNOWN_TOKEN`).
    #[error("this session has ended")]
    DeviceGone,
    /// Accounts and devices.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What is new could not be found out.
    #[error("{0}")]
    Source(SourceError),
    /// A notification could not be put together.
    #[error("a notification cannot be put together: {0}")]
    Json(#[from] serde_json::Error),
}

/// The result of what this crate does.
pub type Result<T> = std::result::Result<T, NotifyError>;
