//! The real network: servers found as the specification says, TLS, HTTP/1.1 and 2.
//! [Resolving server names](https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names).
//!
//! A server's name becomes an *authority*, the `host` or `host:port` that stands in the `Host` header and whose host is in the
//! certificate: the name itself, or the one that its well-known file delegates to. Where the authority is, and with that SRV records
//! and addresses, matters only when a connection is opened; open ones are used again.

mod address;
mod connect;
mod http;
mod resolve;
#[cfg(test)]
mod tests;
mod tls;
mod web;
mod well_known;

use std::{fmt, net::IpAddr, path::PathBuf, sync::Arc};

use ::http::{HeaderMap, Request, StatusCode, Uri, header};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http_body_util::Full;
use ruma::ServerName;
use store::Clock;
use tokio::time::Instant;
use url::Url;

use self::{connect::Connector, http::Http, well_known::WellKnown};
pub use self::{
    resolve::{Resolver, SrvTarget, SystemResolver},
    web::Web,
};
use crate::{
    FederationConfig,
    transport::{Call, CallLimits, Reply, Streamed, Transport, TransportError},
};

/// Why the network cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NetError {
    /// The file of further certificate authorities.
    #[error("the certificate authorities in {0} cannot be used: {1}")]
    ExtraCa(PathBuf, String),
    /// TLS itself.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
}

/// The [`Transport`] to real servers.
pub struct NetTransport {
    http: Http,
    well_known: WellKnown,
    allow_private: bool,
}

/// What is at a URL, whatever its status.
#[derive(Debug, Clone)]
pub struct WebReply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl fmt::Debug for NetTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetTransport").finish_non_exhaustive()
    }
}

impl NetTransport {
    /// With the system's resolver.
    ///
    /// # Errors
    /// [`NetError`]
    pub fn new(config: &FederationConfig, clock: Arc<dyn Clock>) -> Result<Self, NetError> {
        Self::with_resolver(config, clock, Arc::new(SystemResolver::new(config.srv)))
    }

    /// With a resolver of the caller's.
    ///
    /// # Errors
    /// [`NetError`]
    pub fn with_resolver(
        config: &FederationConfig,
        clock: Arc<dyn Clock>,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Self, NetError> {
        let tls = tls::connector(config.extra_ca.as_deref())?;
        let connector = Connector::new(resolver, tls, config.allow_private_addresses, Arc::clone(&clock));
        let allow_private = config.allow_private_addresses;
        Ok(Self { http: Http::new(connector), well_known: WellKnown::new(clock), allow_private })
    }

    /// What a server is called on the network.
    async fn authority(&self, name: &ServerName) -> String {
        // A port or a literal address is final.
        if name.port().is_some() || is_literal(name.host()) {
            return name.as_str().to_owned();
        }
        let delegated = self.well_known.delegated(&self.http, name).await;
        delegated.map_or_else(|| name.host().to_owned(), |server| server.as_str().to_owned())
    }

    async fn request(&self, call: Call) -> Result<Reply, TransportError> {
        let max_body = call.limits.max_body;
        let answer = self.http.send(self.prepared(call).await?, max_body).await?;
        Ok(Reply { status: answer.status, body: answer.body })
    }

    async fn prepared(&self, call: Call) -> Result<Request<Full<Bytes>>, TransportError> {
        let bad = |error: ::http::Error| TransportError::Unreachable(error.to_string());
        let authority = self.authority(&call.destination).await;
        let uri = Uri::builder().scheme("https").authority(authority).path_and_query(call.target).build();
        let mut request =
            Request::builder().method(call.method).uri(uri.map_err(bad)?).body(Full::new(call.body)).map_err(bad)?;
        *request.headers_mut() = call.headers;
        Ok(request)
    }

    /// Whether a URL may be asked for, as far as that shows without a look-up: it is an HTTPS one, and not at an address that is not allowed.
    ///
    /// # Errors
    /// Why not.
    pub fn allows(&self, url: &Url) -> Result<(), TransportError> {
        well_known::uri(url).map_err(TransportError::Unreachable)?;
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
            Some(url::Host::Ipv6(address)) => IpAddr::V6(address),
            _ => return Ok(()),
        };
        if self.allow_private || address::is_public(address) {
            return Ok(());
        }
        Err(TransportError::ForbiddenAddress(address.to_string()))
    }

    /// Posts JSON to a URL that a user named, an HTTPS one. The rules for addresses of servers hold; a redirect is not followed.
    ///
    /// # Errors
    /// [`TransportError`]
    pub async fn post_json(&self, url: &Url, body: Bytes, limits: CallLimits) -> Result<WebReply, TransportError> {
        let bad = |error: ::http::Error| TransportError::Unreachable(error.to_string());
        let uri = well_known::uri(url).map_err(TransportError::Unreachable)?;
        let request = Request::post(uri).header(header::CONTENT_TYPE, "application/json").body(Full::new(body));
        let asked = self.http.send(request.map_err(bad)?, limits.max_body);
        let answer = tokio::time::timeout(limits.timeout, asked).await.unwrap_or(Err(TransportError::Timeout))?;
        Ok(WebReply { status: answer.status, headers: answer.headers, body: answer.body })
    }

    /// Sends a request and gives the answer on as it comes, to `end`.
    async fn begin(
        &self,
        request: Request<Full<Bytes>>,
        max_body: usize,
        end: Instant,
    ) -> Result<Streamed, TransportError> {
        let (head, body) = self.http.begin(request).await?.into_parts();
        Ok(Streamed { status: head.status, headers: head.headers, body: http::pieces(body, max_body, Some(end))? })
    }
}

impl Transport for NetTransport {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, TransportError>> {
        let timeout = call.limits.timeout;
        async move { tokio::time::timeout(timeout, self.request(call)).await.unwrap_or(Err(TransportError::Timeout)) }
            .boxed()
    }

    fn stream(&self, call: Call) -> BoxFuture<'_, Result<Streamed, TransportError>> {
        let (end, max_body) = (Instant::now() + call.limits.timeout, call.limits.max_body);
        let begun = async move { self.begin(self.prepared(call).await?, max_body, end).await };
        async move { tokio::time::timeout_at(end, begun).await.unwrap_or(Err(TransportError::Timeout)) }.boxed()
    }

    fn get<'a>(&'a self, url: &'a Url, limits: CallLimits) -> BoxFuture<'a, Result<Streamed, TransportError>> {
        let end = Instant::now() + limits.timeout;
        let begun = async move {
            let uri = well_known::uri(url).map_err(TransportError::Unreachable)?;
            let request = Request::get(uri).body(Full::default());
            let request = request.map_err(|error| TransportError::Unreachable(error.to_string()))?;
            self.begin(request, limits.max_body, end).await
        };
        async move { tokio::time::timeout_at(end, begun).await.unwrap_or(Err(TransportError::Timeout)) }.boxed()
    }
}

fn is_literal(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}
