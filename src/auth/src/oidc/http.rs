//! Requests to providers: no redirects, bounded in time and size.

use std::{fmt, net::IpAddr, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use url::{Host, Url};

/// The largest answer of a provider that is read, in bytes.
pub const MAX_ANSWER: usize = 256 << 10;
/// How long a provider may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("CliquePay/", env!("CARGO_PKG_VERSION")));

/// Why a provider did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// There is no connection, or it broke off.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It takes too long.
    #[error("it does not answer in time")]
    Timeout,
    /// The answer is larger than [`MAX_ANSWER`].
    #[error("its answer is too large")]
    TooLarge,
}

/// How requests reach a provider.
pub trait UpstreamHttp: Send + Sync + 'static {
    /// Sends one request, follows no redirect, and reads at most [`MAX_ANSWER`] bytes.
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, UpstreamError>>;
}

/// The real network.
pub struct WebClient {
    timeout: Duration,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl fmt::Debug for WebClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebClient")
    }
}

impl WebClient {
    /// A client that believes the certificate authorities that browsers know.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new() -> Result<Self, String> {
        Self::with_timeout(TIMEOUT)
    }

    /// The same, which waits for an answer at most so long.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn with_timeout(timeout: Duration) -> Result<Self, String> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|error| error.to_string())?
            .https_or_http()
            .enable_all_versions()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .http1_max_buf_size(64 << 10)
            .build(connector);
        Ok(Self { timeout, client })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, UpstreamError> {
        let mut request = request.map(Full::new);
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        let unreachable = |error: &dyn fmt::Display| UpstreamError::Unreachable(error.to_string());
        let response = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() { UpstreamError::TooLarge } else { unreachable(&error) }
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

impl UpstreamHttp for WebClient {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, UpstreamError>> {
        async move { tokio::time::timeout(self.timeout, self.send(request)).await.unwrap_or(Err(UpstreamError::Timeout)) }
            .boxed()
    }
}

/// A URL that secrets may be sent to: HTTPS, or HTTP on this very machine.
pub(crate) fn allowed_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text}: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{text}: there must be no user name in it"));
    }
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" if url.has_host() => Ok(url),
        "http" if local => Ok(url),
        _ => Err(format!("{text}: it must begin with https://")),
    }
}
