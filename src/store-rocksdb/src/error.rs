use std::path::{Path, PathBuf};

use rocksdb::ErrorKind;
use store::StoreError;

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder could not be made or read.
    #[error("the data folder {path} cannot be used: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process, or another store in this one, has the folder open.
    #[error("the data folder {0} is in use by another process")]
    AlreadyOpen(PathBuf),
    /// Files are missing or do not hold what was written: a restore from a backup is due. Nothing was changed.
    #[error("the data folder {path} is damaged: {reason}")]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The folder holds keyspaces or a file format that this build does not know.
    #[error("the data folder {path} was written by another version: {reason}")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Anything else; the text is RocksDB's.
    #[error("the data folder {path} cannot be opened: {reason}")]
    Backend {
        /// The folder.
        path: PathBuf,
        /// What RocksDB said.
        reason: String,
    },
}

impl OpenError {
    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }

    /// RocksDB gives texts only: its kind is their first word, the rest is matched on the parts that have been stable.
    pub(crate) fn from_rocksdb(path: &Path, error: &rocksdb::Error) -> Self {
        let path = path.to_owned();
        let reason = error.to_string();
        match error.kind() {
            ErrorKind::IOError if reason.contains("lock hold by") || reason.contains("While lock file") => {
                Self::AlreadyOpen(path)
            }
            ErrorKind::Corruption => Self::Damaged { path, reason },
            ErrorKind::InvalidArgument | ErrorKind::NotSupported => Self::Foreign { path, reason },
            _ => Self::Backend { path, reason },
        }
    }
}

/// Why a backup was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target exists already.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// RocksDB failed; what it had written of the backup is removed.
    #[error("the backup failed: {0}")]
    Backend(String),
}

pub(crate) fn backend(error: impl std::fmt::Display) -> StoreError {
    StoreError::Backend(error.to_string())
}
