//! Connections: TCP to an allowed address, and TLS on it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use quick_cache::sync::Cache;
use rand::RngExt as _;
use rustls::pki_types::ServerName;
use store::Clock;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    net::{
        address,
        resolve::{Resolver, SrvTarget, in_order},
    },
    transport::TransportError,
};

/// The port of servers that name none.
const PORT: u16 = 8448;
/// How long one address has to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long names may take to be looked up.
const LOOKUP: Duration = Duration::from_secs(5);
/// How long the TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Addresses that are tried for one connection.
const MAX_ADDRESSES: usize = 6;
/// Names whose SRV records are kept, and for how long, in milliseconds.
const SRV_KEPT: (usize, u64) = (10_000, 300_000);

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the address {0} is not allowed")]
    Forbidden(IpAddr),
    #[error("{0}")]
    Failed(String),
    #[error("no connection in time")]
    Timeout,
}

impl From<ConnectError> for TransportError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Forbidden(address) => Self::ForbiddenAddress(address.to_string()),
            ConnectError::Failed(why) => Self::Unreachable(why),
            ConnectError::Timeout => Self::Timeout,
        }
    }
}

type SrvCache = Cache<String, (u64, Arc<Vec<SrvTarget>>)>;

/// Connects to the server behind a URI's authority, which is the name that its `Host` header and its certificate have.
#[derive(Clone)]
pub(super) struct Connector {
    resolver: Arc<dyn Resolver>,
    tls: TlsConnector,
    allow_private: bool,
    /// Whether plain HTTP is spoken where a URI asks for it.
    plain: bool,
    clock: Arc<dyn Clock>,
    srv: Arc<SrvCache>,
}

impl Connector {
    pub(super) fn new(
        resolver: Arc<dyn Resolver>,
        tls: TlsConnector,
        allow_private: bool,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { resolver, tls, allow_private, plain: false, clock, srv: Arc::new(Cache::new(SRV_KEPT.0)) }
    }

    /// The same for pages of the web: plain HTTP is spoken as well.
    pub(super) fn or_plain(self) -> Self {
        Self { plain: true, ..self }
    }

    async fn connect(self, uri: Uri) -> Result<Stream, ConnectError> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let plain = uri.scheme_str() == Some("http");
        if plain && !self.plain {
            return Err(ConnectError::Failed("only HTTPS is spoken".to_owned()));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ConnectError::Failed(format!("{host} is no name for a certificate")))?;
        let places = tokio::time::timeout(LOOKUP, self.places(host, uri.port_u16()));
        let places = places.await.map_err(|_| ConnectError::Timeout)??;
        let stream = self.first_open(places).await?;
        let _ = stream.set_nodelay(true);
        if plain {
            return Ok(Stream::Plain(TokioIo::new(stream)));
        }
        let handshake = tokio::time::timeout(HANDSHAKE, self.tls.connect(name, stream));
        let stream = handshake.await.map_err(|_| ConnectError::Timeout)?;
        stream
            .map(|stream| Stream::Tls(Box::new(TokioIo::new(stream))))
            .map_err(|error| ConnectError::Failed(format!("TLS: {error}")))
    }

    /// Where a server may be, in the order to try.
    /// [Resolving server names](https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names), the steps after the
    /// well-known look-up.
    async fn places(&self, host: &str, port: Option<u16>) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port.unwrap_or(PORT))]);
        }
        if let Some(port) = port {
            return self.addresses(host, port).await;
        }
        for service in ["_matrix-fed._tcp", "_matrix._tcp"] {
            let targets = self.srv(format!("{service}.{host}")).await;
            if targets.is_empty() {
                continue;
            }
            let mut places = Vec::new();
            let mut failure = None;
            for target in in_order(targets.to_vec(), |below| rand::rng().random_range(0..below)) {
                match self.addresses(&target.host, target.port).await {
                    Ok(found) => places.extend(found),
                    Err(error) => failure = Some(error),
                }
            }
            return match failure {
                Some(error) if places.is_empty() => Err(error),
                _ => Ok(places),
            };
        }
        self.addresses(host, PORT).await
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let found = self.resolver.addresses(host, port).await;
        found.map_err(|error| ConnectError::Failed(format!("{host} cannot be looked up: {error}")))
    }

    async fn srv(&self, name: String) -> Arc<Vec<SrvTarget>> {
        let now = self.clock.now_ms();
        if let Some((until, targets)) = self.srv.get(&name)
            && now < until
        {
            return targets;
        }
        let targets = Arc::new(self.resolver.srv(&name).await);
        self.srv.insert(name, (now.saturating_add(SRV_KEPT.1), Arc::clone(&targets)));
        targets
    }

    /// The address that is checked is the one that is connected to: a name that means another one a moment later gains nothing.
    async fn first_open(&self, places: Vec<SocketAddr>) -> Result<TcpStream, ConnectError> {
        let mut failure = ConnectError::Failed("it has no address".to_owned());
        for place in places.into_iter().take(MAX_ADDRESSES) {
            if !self.allow_private && !address::is_public(place.ip()) {
                failure = ConnectError::Forbidden(place.ip());
                continue;
            }
            match tokio::time::timeout(CONNECT, TcpStream::connect(place)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = ConnectError::Failed(format!("{place}: {error}")),
                Err(_) => failure = ConnectError::Timeout,
            }
        }
        Err(failure)
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Stream, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection, with TLS but where plain HTTP was asked for.
pub(super) enum Stream {
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
    Plain(TokioIo<TcpStream>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        match self {
            Self::Tls(stream) if stream.inner().get_ref().1.alpn_protocol() == Some(b"h2") => connected.negotiated_h2(),
            _ => connected,
        }
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Plain(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}
