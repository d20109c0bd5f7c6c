use http::StatusCode;

use crate::transport::TransportError;

/// Why a request to another server gave nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// There was no answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The server answered with an error.
    #[error("the other server answered {status} {errcode}: {error}")]
    Status {
        /// Its status.
        status: StatusCode,
        /// Its `errcode`, `M_UNKNOWN` where it gave none.
        errcode: String,
        /// Its words, cut to a bearable length.
        error: String,
        /// The whole answer where it is a JSON object.
        body: Option<serde_json::Value>,
    },
    /// The answer is not what the endpoint gives.
    #[error("the other server's answer cannot be read: {0}")]
    BadReply(String),
    /// The request could not be made.
    #[error("the request cannot be made: {0}")]
    BadRequest(String),
}

impl CallError {
    /// Whether the server answered with this status.
    pub fn is_status(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Status { status, .. } if *status == wanted)
    }
}
