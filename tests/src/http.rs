//! One kept-alive HTTP/1.1 connection to a server on this machine.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The largest answer that is read, in bytes. An initial sync of a few hundred rooms is far below it.
const MAX_BODY: usize = 256 << 20;

/// Why a request got no answer. An HTTP error status is an answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is not of the form `http://ADDRESS:PORT`.
    #[error("{0:?} is not of the form http://127.0.0.1:PORT")]
    BadUrl(String),
    /// The URL names another machine.
    #[error("{0} is not a loopback address: nothing but this machine may be driven")]
    NotLoopback(IpAddr),
    /// The request could not be built: a path or a token with forbidden characters.
    #[error("bad request: {0}")]
    BadRequest(#[from] http::Error),
    /// A token that no header can carry.
    #[error("bad token: {0}")]
    BadToken(#[from] http::header::InvalidHeaderValue),
    /// The connection was refused or broke.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// The exchange broke: the server closed the connection, or spoke something else than HTTP.
    #[error("exchange: {0}")]
    Hyper(#[from] hyper::Error),
    /// The answer's body broke off or was larger than this client reads.
    #[error("body: {0}")]
    Body(String),
    /// No answer within the time the caller gave.
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
}

/// A server's address, known to be loopback.
#[derive(Debug, Clone)]
pub struct Endpoint {
    address: SocketAddr,
    host: HeaderValue,
}

impl Endpoint {
    /// Reads `http://ADDRESS:PORT`. `localhost` is taken as 127.0.0.1.
    ///
    /// # Errors
    /// [`HttpError::BadUrl`] for any other form, [`HttpError::NotLoopback`] for another machine's address.
    pub fn parse(url: &str) -> Result<Self, HttpError> {
        let bad = || HttpError::BadUrl(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(bad)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let literal = rest.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address: SocketAddr = literal.as_deref().unwrap_or(rest).parse().map_err(|_| bad())?;
        Self::new(address)
    }

    /// Takes a loopback address.
    ///
    /// # Errors
    /// [`HttpError::NotLoopback`] for another machine's address.
    pub fn new(address: SocketAddr) -> Result<Self, HttpError> {
        if !address.ip().is_loopback() {
            return Err(HttpError::NotLoopback(address.ip()));
        }
        let host = HeaderValue::from_str(&address.to_string())?;
        Ok(Self { address, host })
    }

    /// The address itself.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A server's answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// A bearer token ready to be put on requests.
///
/// # Errors
/// [`HttpError::BadToken`] when no header can carry it.
pub fn bearer(token: &str) -> Result<HeaderValue, HttpError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// One kept-alive connection. Requests on it go one after the other; one that the server closed while it was idle is opened anew.
#[derive(Debug)]
pub struct Conn {
    sender: http1::SendRequest<Full<Bytes>>,
    endpoint: Endpoint,
}

impl Conn {
    /// Connects. The connection is served by a task of the current tokio runtime until either side closes it.
    ///
    /// # Errors
    /// [`HttpError::Io`] when nobody listens.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, HttpError> {
        Ok(Self { sender: Self::connect(endpoint).await?, endpoint: endpoint.clone() })
    }

    async fn connect(endpoint: &Endpoint) -> Result<http1::SendRequest<Full<Bytes>>, HttpError> {
        let stream = TcpStream::connect(endpoint.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Its error reaches whoever waits for an answer on it.
            let _ = connection.await;
        });
        Ok(sender)
    }

    /// Whether the next request on it is bound to fail.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends one request and reads the whole answer. `path` begins with a slash and holds the query.
    ///
    /// # Errors
    /// Any [`HttpError`] but the URL ones. An error status is not an error here.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&HeaderValue>,
        body: Option<Bytes>,
    ) -> Result<Reply, HttpError> {
        self.send(method, path, token, body, HeaderValue::from_static("application/json")).await
    }

    /// The same with a body of any type.
    ///
    /// # Errors
    /// As [`Conn::call`].
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&HeaderValue>,
        body: Option<Bytes>,
        content_type: HeaderValue,
    ) -> Result<Reply, HttpError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.endpoint.host);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::new(body.unwrap_or_default()))?;
        if self.sender.ready().await.is_err() {
            self.sender = Self::connect(&self.endpoint).await?;
            self.sender.ready().await?;
        }
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_BODY)
            .collect()
            .await
            .map_err(|error| HttpError::Body(error.to_string()))?
            .to_bytes();
        Ok(Reply { status, body })
    }
}

/// Percent-encodes one path segment or query value: everything but RFC 3986's unreserved characters.
#[must_use]
pub fn encode(segment: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(segment.len() + 8);
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_loopback_is_driven() {
        assert!(Endpoint::parse("http://127.0.0.1:8008").is_ok());
        assert!(Endpoint::parse("http://[::1]:8008/").is_ok());
        assert_eq!(Endpoint::parse("http://localhost:1").unwrap().url(), "http://127.0.0.1:1");
        assert!(matches!(Endpoint::parse("http://192.0.2.1:80"), Err(HttpError::NotLoopback(_))));
        assert!(matches!(Endpoint::parse("http://0.0.0.0:80"), Err(HttpError::NotLoopback(_))));
        for bad in ["https://127.0.0.1:1", "http://example.org:80", "http://127.0.0.1", "127.0.0.1:80"] {
            assert!(matches!(Endpoint::parse(bad), Err(HttpError::BadUrl(_))), "{bad}");
        }
    }

    #[test]
    fn room_and_event_ids_survive_a_path() {
        assert_eq!(encode("!a:b.test"), "%21a%3Ab.test");
        assert_eq!(encode("$x/y+z"), "%24x%2Fy%2Bz");
    }
}
