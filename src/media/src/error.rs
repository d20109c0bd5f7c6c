use std::time::Duration;

use http::StatusCode;
use http_kit::MatrixError;
use store::{CommitError, StoreError};

/// Why something about a file could not be done.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// There is nothing of that id (`M_NOT_FOUND`).
    #[error("There is no such file")]
    NotFound,
    /// The id is reserved and nothing uploaded to it yet (504 `M_NOT_YET_UPLOADED`).
    #[error("The file has not been uploaded yet")]
    NotYetUploaded,
    /// An upload, or a picture of this server to be thumbnailed, is too large (413 `M_TOO_LARGE`).
    #[error("The file is larger than this server takes: {0}")]
    TooLarge(String),
    /// A file of another server is too large (502 `M_TOO_LARGE`).
    #[error("The file is larger than this server fetches from others: {0}")]
    RemoteTooLarge(String),
    /// The id has its content already (409 `M_CANNOT_OVERWRITE_MEDIA`).
    #[error("There is a file of this id already")]
    CannotOverwrite,
    /// Somebody else reserved the id (`M_FORBIDDEN`).
    #[error("This id was reserved by somebody else")]
    NotYours,
    /// The user has reserved too many ids, or has too many uploads under way; or too many wait for thumbnails (`M_LIMIT_EXCEEDED`).
    #[error("too many uploads or thumbnails at a time")]
    TooMany(Duration),
    /// The user's files take all the room that they may, and where they read about that (403 `M_USER_LIMIT_EXCEEDED`; `M_FORBIDDEN` where
    /// the operator names no page).
    #[error("Your files take all the room that you have on this server")]
    NoRoom(Option<String>),
    /// It changed at the same time (503 `M_UNKNOWN`).
    #[error("The file changed at the same time: try again")]
    Changed,
    /// The upload broke off (`M_UNKNOWN`).
    #[error("The upload broke off")]
    BrokeOff,
    /// The upload did not go on (408 `M_UNKNOWN`).
    #[error("The upload did not arrive in time")]
    Stalled,
    /// No picture that can be made smaller (400 `M_UNKNOWN`).
    #[error("There can be no thumbnail of this file: {0}")]
    NoThumbnail(String),
    /// The other server cannot be reached, or does not give the file (502 `M_UNKNOWN`).
    #[error("The file could not be fetched from its server: {0}")]
    Remote(String),
    /// The content could not be read or written.
    #[error("content: {0}")]
    Content(#[from] object_store::Error),
    /// The local disk.
    #[error("the folder of content: {0}")]
    Io(#[from] std::io::Error),
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<MediaError> for MatrixError {
    fn from(error: MediaError) -> Self {
        let text = error.to_string();
        match error {
            MediaError::NotFound => Self::not_found(text),
            MediaError::NotYetUploaded => Self::new(StatusCode::GATEWAY_TIMEOUT, "M_NOT_YET_UPLOADED", text),
            MediaError::TooLarge(_) => Self::too_large(text),
            MediaError::RemoteTooLarge(_) => Self::new(StatusCode::BAD_GATEWAY, "M_TOO_LARGE", text),
            MediaError::CannotOverwrite => Self::new(StatusCode::CONFLICT, "M_CANNOT_OVERWRITE_MEDIA", text),
            MediaError::NotYours | MediaError::NoRoom(None) => Self::forbidden(text),
            MediaError::NoRoom(Some(page)) => {
                Self::new(StatusCode::FORBIDDEN, "M_USER_LIMIT_EXCEEDED", text).with("info_uri", page)
            }
            MediaError::Changed => Self::unknown(text).with_status(StatusCode::SERVICE_UNAVAILABLE),
            MediaError::TooMany(after) => Self::limit_exceeded(after),
            MediaError::BrokeOff | MediaError::NoThumbnail(_) => Self::unknown(text),
            MediaError::Stalled => Self::unknown(text).with_status(StatusCode::REQUEST_TIMEOUT),
            MediaError::Remote(_) => Self::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", text),
            MediaError::Content(_) | MediaError::Io(_) | MediaError::Store(_) | MediaError::Commit(_) => {
                Self::internal(text)
            }
        }
    }
}

http_kit::route_error!(MediaError);
