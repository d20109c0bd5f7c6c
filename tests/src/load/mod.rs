//! The load generator: few CPU cycles of its own, so that what it shares a machine with is what it measures.
//!
//! One thread, one kept-alive connection a sender or poller, requests built by hand, answers searched for the few
//! bytes that matter instead of parsed. Everything is bounded by time and by count.

pub mod bytes;
pub mod clients;
pub mod phases;
pub mod procfs;
pub mod report;
pub mod setup;
pub mod stats;

use crate::http::{HttpError, Reply};

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The server could not be reached.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A rate limit answered: what would be measured is the limit.
    #[error("the server's rate limits are on (429 from {0}): switch them off for a load test")]
    RateLimited(String),
    /// Another status than 200.
    #[error("{path} answered {status}: {body}")]
    Status {
        /// Method and path of the request.
        path: String,
        /// The status.
        status: u16,
        /// The first bytes of the body.
        body: String,
    },
    /// An answer lacks the field that the next step needs.
    #[error("{path} answered without {field}")]
    Missing {
        /// Method and path of the request.
        path: String,
        /// The JSON key.
        field: &'static str,
    },
    /// The kernel's figures of a process could not be read.
    #[error("process figures: {0}")]
    Process(String),
    /// The command line does not fit.
    #[error("{0}")]
    Usage(String),
    /// A task ended without a result.
    #[error("task: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// Files could not be written, commands not started.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The report could not be printed as JSON.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The picture for the uploads could not be made.
    #[error("picture: {0}")]
    Picture(#[from] image::ImageError),
}

/// Passes an answer on when its status is 200.
///
/// # Errors
/// [`LoadError::RateLimited`] for 429, [`LoadError::Status`] for everything else.
pub fn expect_ok(path: &str, reply: Reply) -> Result<Reply, LoadError> {
    match reply.status.as_u16() {
        200 => Ok(reply),
        429 => Err(LoadError::RateLimited(path.to_owned())),
        status => {
            let shown = reply.body.get(..reply.body.len().min(300)).unwrap_or_default();
            let body = String::from_utf8_lossy(shown).into_owned();
            Err(LoadError::Status { path: path.to_owned(), status, body })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: ::http::StatusCode) -> Reply {
        Reply { status, body: ::bytes::Bytes::from_static(b"{\"errcode\":\"M_LIMIT_EXCEEDED\"}") }
    }

    #[test]
    fn a_rate_limit_is_named() {
        assert!(expect_ok("/x", reply(http::StatusCode::OK)).is_ok());
        let limited = expect_ok("/x", reply(http::StatusCode::TOO_MANY_REQUESTS));
        assert!(matches!(limited, Err(LoadError::RateLimited(path)) if path == "/x"));
        let refused = expect_ok("/x", reply(http::StatusCode::FORBIDDEN));
        assert!(matches!(refused, Err(LoadError::Status { status: 403, .. })));
    }
}
