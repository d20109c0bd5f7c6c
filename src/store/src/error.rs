use crate::key::KeyError;

/// What can go wrong between a caller and the rows on disk.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The backend failed; the text is its own.
    #[error("storage backend: {0}")]
    Backend(String),
    /// A row could not be decoded: the data folder was written by something else, or is damaged.
    #[error("row of table {table} cannot be read: {reason}")]
    Corrupt {
        /// The table's name.
        table: &'static str,
        /// What was wrong.
        reason: String,
    },
    /// The data folder has a schema that this build does not know.
    #[error("the data was written by a newer version (schema {found}, this build knows up to {known})")]
    NewerSchema {
        /// The version found on disk.
        found: u32,
        /// The newest version this build knows.
        known: u32,
    },
    /// The data folder is older and no migration leads on from its version.
    #[error("no migration leads from schema {0}")]
    NoMigration(u32),
    /// A write failed earlier and its outcome is unknown: the store takes no more writes.
    #[error("the store has stopped taking writes after a failed sync")]
    Stopped,
}

impl StoreError {
    pub(crate) fn corrupt(table: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Corrupt { table, reason: reason.to_string() }
    }
}

impl From<(&'static str, KeyError)> for StoreError {
    fn from((table, error): (&'static str, KeyError)) -> Self {
        Self::corrupt(table, error)
    }
}

/// Why a commit did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// A precondition did not hold; nothing of the commit was written.
    #[error("a precondition of the commit did not hold")]
    Conflict,
    /// The write or its sync failed: nobody knows whether it is on disk.
    #[error("the outcome of the write is unknown: {0}")]
    Unknown(String),
    /// The store stopped before this commit was tried; nothing of it was written.
    #[error("the store has stopped taking writes")]
    Stopped,
}
