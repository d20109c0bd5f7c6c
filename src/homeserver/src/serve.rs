//! Listening, answering, shutting down.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::FromRef};
use http_kit::{ClientIp, TrustedProxies};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, watch},
};
use tower::Service as _;
use tracing::{debug, error, info, warn};

use crate::{config::Config, error::StartError, housekeeping, metrics, peers::Peers, site, tls, wiring};

/// How long requests may go on after the signal to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long a client may take to send the head of a request. Of its first one also from the moment on at which the connection stands,
/// whatever was sent by then: which version of HTTP it speaks is not known before.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent HTTP/2 client is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Connections open at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 20_000;
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the server until it is told to stop, or the store fails.
pub async fn run(config: Config) -> Result<ExitCode, StartError> {
    let failed = Arc::new(AtomicBool::new(false));
    let (stop, stopping) = watch::channel(false);
    let parts = {
        let (failed, stop) = (Arc::clone(&failed), stop.clone());
        wiring::open(&config, wiring::Purpose::Serve, move || {
            failed.store(true, Ordering::Release);
            let _ = stop.send(true);
        })?
    };
    parts.auth.create_service_senders().await?;
    parts.services.start().await?;
    let federation_routes = if config.federation.enabled {
        federation::router().with_state(federation::Api(Arc::clone(&parts.federation)))
    } else {
        Router::new()
    };
    let router = http_kit::finish(
        Router::new()
            .merge(federation_routes)
            .merge(client_api::router().with_state(parts.app.clone()))
            .merge(appservices::router().with_state(appservices::Api(Arc::clone(&parts.services))))
            .merge(auth::router().with_state(AuthState(Arc::clone(&parts.auth))))
            .merge(expenses::router().with_state(expenses::Api(Arc::clone(&parts.expenses))))
            .merge(media::router().with_state(media::Api(Arc::clone(&parts.media))))
            .merge(site::router()),
    );
    let proxies = TrustedProxies::parse(config.trusted_proxies.iter().map(String::as_str))
        .map_err(|bad| StartError::Setting("trusted_proxies", bad))?;
    let server = Server { router, proxies: Arc::new(proxies), peers: Arc::default(), stopping: stopping.clone() };

    let mut listening = tokio::task::JoinSet::new();
    for address in &config.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| StartError::Listen(*address, error))?;
        info!(%address, "listening");
        let open =
            if address.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { *address };
        eprintln!("CliquePay is running: open http://{open}/ in a browser");
        listening.spawn(server.clone().accept(listener, None));
    }
    if let Some(settings) = &config.tls {
        let (acceptor, certificate) = tls::acceptor(settings)?;
        listening.spawn(certificate.follow(stopping.clone()));
        for address in &settings.listen {
            let listener = TcpListener::bind(address).await.map_err(|error| StartError::Listen(*address, error))?;
            info!(%address, "listening with TLS");
            listening.spawn(server.clone().accept(listener, Some(acceptor.clone())));
        }
    }
    if let Some(address) = config.metrics_listen {
        let listener = TcpListener::bind(address).await.map_err(|error| StartError::Listen(address, error))?;
        let router = metrics::router(Arc::clone(&parts.federation))?;
        listening.spawn(Server { router, ..server.clone() }.accept(listener, None));
    }
    let media = Arc::clone(&parts.media);
    let sweep = tokio::spawn(async move {
        if let Err(error) = media.sweep().await {
            warn!(%error, "what an earlier run left of uploads was not removed");
        }
    });
    let housekeeping = tokio::spawn(housekeeping::run(parts.app.clone(), stopping.clone()));
    let expire = tokio::spawn(housekeeping::expire(Arc::clone(&parts.media), stopping.clone()));
    let recheck = tokio::spawn(housekeeping::recheck(Arc::clone(&parts.auth), stopping.clone()));
    let mut outbox = tokio::task::JoinSet::new();
    let mut pushes = stopping.clone();
    let source = Arc::new(parts.app.clone());
    outbox.spawn(Arc::clone(&parts.app.notify).run(source, async move { stopped(&mut pushes).await }));
    let mut telling = stopping.clone();
    outbox.spawn(Arc::clone(&parts.services).run(async move { stopped(&mut telling).await }));
    let mut delayed = stopping.clone();
    outbox.spawn(parts.app.clone().send_delayed(async move { stopped(&mut delayed).await }));
    if config.federation.enabled {
        let mut late = stopping.clone();
        outbox.spawn(Arc::clone(&parts.federation).fetch_late_ledgers(async move { stopped(&mut late).await }));
        let mut fills = stopping.clone();
        outbox.spawn(Arc::clone(&parts.federation).fill_rooms(async move { stopped(&mut fills).await }));
        let mut stopping = stopping.clone();
        outbox.spawn(Arc::clone(&parts.federation.outbox).run(async move { stopped(&mut stopping).await }));
    }
    let mut indexing = tokio::task::JoinSet::new();
    if let Some(search) = parts.search.clone() {
        let mut stopping = stopping.clone();
        indexing.spawn(search.run(async move { stopped(&mut stopping).await }));
    }

    wait_for_signal(stopping).await;
    let _ = stop.send(true);
    // Long polls end at once: there is nothing more to tell.
    parts.app.close();
    let drained = async {
        while listening.join_next().await.is_some() {}
        while outbox.join_next().await.is_some() {}
        while indexing.join_next().await.is_some() {}
    };
    let _ = tokio::time::timeout(GRACE, drained).await;
    housekeeping.abort();
    sweep.abort();
    recheck.abort();
    expire.abort();
    if let Err(error) = parts.app.users.devices.flush().await {
        debug!(%error, "last-seen times were not written");
    }
    parts.db.shutdown();
    if failed.load(Ordering::Acquire) {
        error!("stopped: a write failed and its outcome is unknown. Make room or mend the disk, then start again");
        return Ok(ExitCode::from(3));
    }
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Returns when the server is told to stop.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The value's guard must not live on across an await of the caller's.
    let _ = stopping.wait_for(|stop| *stop).await.map(drop);
}

async fn wait_for_signal(mut stopping: watch::Receiver<bool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
        () = stopped(&mut stopping) => {}
    }
}

/// The state of the routes of `auth`.
#[derive(Clone)]
struct AuthState(Arc<auth::Auth>);

impl FromRef<AuthState> for Arc<auth::Auth> {
    fn from_ref(state: &AuthState) -> Self {
        Arc::clone(&state.0)
    }
}

impl FromRef<AuthState> for Arc<dyn http_kit::Authenticator> {
    fn from_ref(state: &AuthState) -> Self {
        Arc::clone(&state.0) as _
    }
}

#[derive(Clone)]
struct Server {
    router: Router,
    proxies: Arc<TrustedProxies>,
    peers: Arc<Peers>,
    stopping: watch::Receiver<bool>,
}

impl Server {
    async fn accept(self, listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>) {
        let mut stopping = self.stopping.clone();
        let mut connections = tokio::task::JoinSet::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let place = tokio::select! {
                place = Arc::clone(&places).acquire_owned() => place,
                () = stopped(&mut stopping) => break,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped(&mut stopping) => break,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, peer)) => {
                    let Some(of_peer) = self.peers.enter(peer.ip(), &self.proxies) else { continue };
                    let _ = stream.set_nodelay(true);
                    let connection = self.clone().connection(stream, peer, tls.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop((place, of_peer));
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others will close some.
                    debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        while connections.join_next().await.is_some() {}
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr, tls: Option<tokio_rustls::TlsAcceptor>) {
        match tls {
            None => self.http(stream, peer).await,
            Some(acceptor) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => self.http(stream, peer).await,
                Ok(Err(error)) => debug!(%error, %peer, "TLS handshake failed"),
                Err(_) => debug!(%peer, "TLS handshake timed out"),
            },
        }
    }

    async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S, peer: SocketAddr) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(200)
            .keep_alive_interval(Some(KEEP_ALIVE))
            .keep_alive_timeout(HANDSHAKE_TIMEOUT);
        let (router, proxies) = (self.router, self.proxies);
        let begun = Arc::new(Notify::new());
        let beginning = Arc::clone(&begun);
        let service = service_fn(move |mut request: Request<Incoming>| {
            beginning.notify_one();
            let ip = proxies.client_ip(peer.ip(), request.headers());
            request.extensions_mut().insert(ClientIp(ip));
            router.clone().call(request)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut stopping = self.stopping;
        // From the first request on the time limits of its version hold.
        let silent = async {
            if tokio::time::timeout(HEAD_TIMEOUT, begun.notified()).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = silent => return debug!(%peer, "a client asked for nothing"),
            () = stopped(&mut stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%error, %peer, "connection ended");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    /// A connection over which a client has sent this.
    async fn connected(sent: &[u8]) -> (DuplexStream, watch::Sender<bool>) {
        let (stop, stopping) = watch::channel(false);
        let router = Router::new().route("/", axum::routing::get(async || "here"));
        let server = Server { router, proxies: Arc::default(), peers: Arc::default(), stopping };
        let (mut client, stream) = tokio::io::duplex(64 << 10);
        tokio::spawn(server.http(stream, SocketAddr::from(([192, 0, 2, 1], 1))));
        client.write_all(sent).await.unwrap();
        (client, stop)
    }

    /// Whether the server ends a connection within an hour of time that stands still otherwise.
    async fn ends(client: &mut DuplexStream) -> bool {
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(3600), client.read_to_end(&mut rest)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_asks_for_anything_is_sent_away() {
        let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for sent in [&b""[..], b"P", preface.get(..14).unwrap(), preface, b"GET / HTTP/1.1\r\nhost: x\r\n"] {
            let (mut client, _stop) = connected(sent).await;
            assert!(ends(&mut client).await, "{}", sent.escape_ascii());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_trickles_the_beginning_is_sent_away() {
        let (mut client, _stop) = connected(b"PRI").await;
        for byte in b" * HTTP/2.0" {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let _ = client.write_all(&[*byte]).await;
        }
        assert_eq!(client.write_all(b"\r").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_answered() {
        let (mut client, _stop) = connected(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut answer = [0; 15];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
}
