//! The seam to the web, so that tests drive everything on this side of it.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture, stream::BoxStream};
use http::StatusCode;
use url::Url;

/// What an answer may cost.
#[derive(Debug, Clone, Copy)]
pub struct WebLimits {
    /// Its bytes. Where there are more, the answer breaks off with an error behind them.
    pub max_size: u64,
    /// From the look-up of the name to the end of the answer.
    pub time: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WebError {
    /// It is at an address that this server does not talk to.
    #[error("its address is not allowed")]
    ForbiddenAddress,
    /// It is larger than allowed.
    #[error("it is too large")]
    TooLarge,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// An answer.
pub struct WebAnswer {
    /// Its status.
    pub status: StatusCode,
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `Location`
    pub location: Option<String>,
    /// Its body, as it comes.
    pub content: BoxStream<'static, Result<Bytes, WebError>>,
}

impl fmt::Debug for WebAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebAnswer")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .finish_non_exhaustive()
    }
}

/// Gets what links lead to.
pub trait Web: Send + Sync + fmt::Debug {
    /// Sends one request for an `http` or `https` URL. Connects to addresses of the open internet alone, and follows no redirect.
    fn get<'a>(&'a self, url: &'a Url, limits: WebLimits) -> BoxFuture<'a, Result<WebAnswer, WebError>>;
}

/// For servers that show no previews.
#[derive(Debug, Clone, Copy)]
pub struct NoWeb;

impl Web for NoWeb {
    fn get<'a>(&'a self, _: &'a Url, _: WebLimits) -> BoxFuture<'a, Result<WebAnswer, WebError>> {
        std::future::ready(Err(WebError::Failed("there are no previews".to_owned()))).boxed()
    }
}
