//! The seam between federation and the network, so that tests and simulations drive everything above it.

use std::{fmt::Debug, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture, stream::BoxStream};
use http::{HeaderMap, Method, StatusCode};
use ruma::OwnedServerName;
use url::Url;

/// One request to another server.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whom it goes to.
    pub destination: OwnedServerName,
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// `Authorization` and `Content-Type`.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// What the answer may cost.
    pub limits: CallLimits,
}

/// What an answer may cost.
#[derive(Debug, Clone, Copy)]
pub struct CallLimits {
    /// From finding the server to the end of the answer.
    pub timeout: Duration,
    /// The answer's body, in bytes.
    pub max_body: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), max_body: 1 << 20 }
    }
}

impl CallLimits {
    /// For what moves whole rooms: `send_join`, `state`.
    pub const LARGE: Self = Self { timeout: Duration::from_secs(180), max_body: 200 << 20 };
    /// For pages of events: `backfill`, `get_missing_events`, `state_ids`.
    pub const PAGES: Self = Self { timeout: Duration::from_secs(60), max_body: 16 << 20 };
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// An answer whose body is still on its way: for files, which nobody holds whole in memory.
pub struct Streamed {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, within the limits of the call.
    pub body: BoxStream<'static, Result<Bytes, TransportError>>,
}

impl Debug for Streamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streamed").field("status", &self.status).field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// The server cannot be found or reached, or its certificate is not valid.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// It is at an address that this server does not talk to.
    #[error("the address {0} is not allowed")]
    ForbiddenAddress(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer is larger than allowed.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// Carries requests to other servers: finds them, connects, and reads the answer within its limits.
pub trait Transport: Send + Sync + Debug {
    /// Sends one request.
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, TransportError>>;

    /// Sends one request; the answer's body is read as it comes.
    fn stream(&self, call: Call) -> BoxFuture<'_, Result<Streamed, TransportError>>;

    /// Gets what is at a URL, an HTTPS one, that another server pointed to. The same rules hold for its address; a redirect is not
    /// followed.
    fn get<'a>(&'a self, url: &'a Url, limits: CallLimits) -> BoxFuture<'a, Result<Streamed, TransportError>>;
}

/// For servers that keep to themselves: nobody is reached.
#[derive(Debug, Clone, Copy)]
pub struct Disabled;

impl Transport for Disabled {
    fn call(&self, _: Call) -> BoxFuture<'_, Result<Reply, TransportError>> {
        std::future::ready(Err(disabled())).boxed()
    }

    fn stream(&self, _: Call) -> BoxFuture<'_, Result<Streamed, TransportError>> {
        std::future::ready(Err(disabled())).boxed()
    }

    fn get<'a>(&'a self, _: &'a Url, _: CallLimits) -> BoxFuture<'a, Result<Streamed, TransportError>> {
        std::future::ready(Err(disabled())).boxed()
    }
}

fn disabled() -> TransportError {
    TransportError::Unreachable("this server does not federate".to_owned())
}
