//! The network against servers on this machine, with certificates of an authority made for the test.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::{Router, body::Body, response::IntoResponse, routing::get};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use store::ManualClock;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{NetTransport, Resolver, SrvTarget};
use crate::{Call, CallLimits, FederationConfig, Reply, Transport, TransportError};

/// Names for one test alone.
#[derive(Debug, Default)]
struct Names {
    addresses: BTreeMap<(String, u16), SocketAddr>,
    srv: BTreeMap<String, Vec<SrvTarget>>,
}

impl Resolver for Names {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let found = self.addresses.get(&(host.to_owned(), port)).copied();
        std::future::ready(found.map(|found| vec![found]).ok_or_else(|| io::Error::other("no such name"))).boxed()
    }

    fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<SrvTarget>> {
        std::future::ready(self.srv.get(name).cloned().unwrap_or_default()).boxed()
    }
}

/// A net of servers, their names and the authority that certifies them.
struct Net {
    authority: CertifiedIssuer<'static, KeyPair>,
    names: Names,
    clock: Arc<ManualClock>,
}

impl Net {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { authority, names: Names::default(), clock: Arc::new(ManualClock::new(1_700_000_000_000)) }
    }

    /// Starts a server with a certificate for a name.
    async fn serve(&self, name: &str, alpn: &[&[u8]], router: Router) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let chain = vec![params.signed_by(&key, &self.authority).unwrap().der().clone()];
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        address
    }

    /// Starts a server and gives it a name and port.
    async fn named(&mut self, certificate: &str, host: &str, port: u16, router: Router) {
        let address = self.serve(certificate, &[b"http/1.1"], router).await;
        self.names.addresses.insert((host.to_owned(), port), address);
    }

    fn srv(&mut self, service: &str, host: &str, port: u16) {
        let target = SrvTarget { priority: 1, weight: 1, host: host.to_owned(), port };
        self.names.srv.entry(service.to_owned()).or_default().push(target);
    }

    fn transport(self, allow_private_addresses: bool) -> NetTransport {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, self.authority.pem()).unwrap();
        let config = FederationConfig { extra_ca: Some(path), allow_private_addresses, ..FederationConfig::default() };
        NetTransport::with_resolver(&config, self.clock, Arc::new(self.names)).unwrap()
    }
}

/// Answers with the `Host` that was asked for, or the authority of HTTP/2.
fn echo() -> Router {
    Router::new().route(
        "/host",
        get(|uri: Uri, headers: HeaderMap| async move {
            match uri.authority() {
                Some(authority) => authority.to_string(),
                None => headers.get(header::HOST).unwrap().to_str().unwrap().to_owned(),
            }
        }),
    )
}

/// Serves a well-known file and counts how often.
fn well_known(server: &str, count: &Arc<AtomicUsize>) -> Router {
    let (body, count) = (format!(r#"{{"m.server": "{server}"}}"#), Arc::clone(count));
    let answer = move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(body.clone())
    };
    Router::new().route("/.well-known/matrix/server", get(answer))
}

fn redirect(to: &'static str) -> Router {
    let answer = move || std::future::ready((StatusCode::FOUND, [(header::LOCATION, to)]));
    Router::new().route("/.well-known/matrix/server", get(answer))
}

async fn get_path(transport: &NetTransport, server: &str, path: &str) -> Result<Reply, TransportError> {
    let limits = CallLimits { timeout: Duration::from_secs(20), max_body: 10_000 };
    get_within(transport, server, path, limits).await
}

async fn get_within(
    transport: &NetTransport,
    server: &str,
    path: &str,
    limits: CallLimits,
) -> Result<Reply, TransportError> {
    let call = Call {
        destination: server.try_into().unwrap(),
        method: Method::GET,
        target: path.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        limits,
    };
    transport.call(call).await
}

/// The `Host` that a server was reached by.
async fn host(transport: &NetTransport, server: &str) -> String {
    let reply = get_path(transport, server, "/host").await.unwrap();
    assert_eq!(reply.status, StatusCode::OK);
    String::from_utf8(reply.body.into()).unwrap()
}

#[tokio::test]
async fn a_port_is_final() {
    let mut net = Net::new();
    net.named("a.example", "a.example", 9999, echo()).await;
    net.named("a.example", "a.example", 443, echo()).await;
    let transport = net.transport(true);
    assert_eq!(host(&transport, "a.example:9999").await, "a.example:9999");
    assert_eq!(host(&transport, "a.example:443").await, "a.example:443");
}

#[tokio::test]
async fn literal_addresses_need_certificates_of_their_own() {
    let net = Net::new();
    let good = net.serve("127.0.0.1", &[b"http/1.1"], echo()).await;
    let bad = net.serve("a.example", &[b"http/1.1"], echo()).await;
    let transport = net.transport(true);
    assert_eq!(host(&transport, &good.to_string()).await, good.to_string());
    let refused = get_path(&transport, &bad.to_string(), "/host").await.unwrap_err();
    assert!(matches!(&refused, TransportError::Unreachable(why) if why.contains("TLS")), "{refused}");
}

#[tokio::test]
async fn http_2_is_spoken_where_the_server_does() {
    let mut net = Net::new();
    let address = net.serve("a.example", &[b"h2"], echo()).await;
    net.names.addresses.insert(("a.example".to_owned(), 8448), address);
    let transport = net.transport(true);
    assert_eq!(host(&transport, "a.example").await, "a.example");
}

#[tokio::test]
async fn a_well_known_file_delegates_and_is_kept() {
    let count = Arc::new(AtomicUsize::new(0));
    for (delegated, port) in [("b.example:4444", 4444), ("b.example", 8448)] {
        let mut net = Net::new();
        count.store(0, Ordering::SeqCst);
        net.named("a.example", "a.example", 443, well_known(delegated, &count)).await;
        net.named("b.example", "b.example", port, echo()).await;
        let clock = Arc::clone(&net.clock);
        let transport = net.transport(true);
        assert_eq!(host(&transport, "a.example").await, delegated);
        assert_eq!(host(&transport, "a.example").await, delegated);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        clock.advance(86_400_001);
        assert_eq!(host(&transport, "a.example").await, delegated);
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn a_delegated_name_is_looked_for_by_srv() {
    let mut net = Net::new();
    net.named("a.example", "a.example", 443, well_known("b.example", &Arc::default())).await;
    net.srv("_matrix-fed._tcp.b.example", "c.example", 5555);
    net.named("b.example", "c.example", 5555, echo()).await;
    let transport = net.transport(true);
    assert_eq!(host(&transport, "a.example").await, "b.example");
}

#[tokio::test]
async fn without_a_well_known_file_srv_is_next_and_then_the_port_of_federation() {
    for service in ["_matrix-fed._tcp", "_matrix._tcp"] {
        let mut net = Net::new();
        net.srv(&format!("{service}.a.example"), "b.example", 5555);
        net.named("a.example", "b.example", 5555, echo()).await;
        let transport = net.transport(true);
        assert_eq!(host(&transport, "a.example").await, "a.example");
    }
    let mut net = Net::new();
    // What an SRV record points to needs the certificate of the name that was asked for, not its own.
    net.srv("_matrix-fed._tcp.b.example", "c.example", 5555);
    net.named("c.example", "c.example", 5555, echo()).await;
    net.named("a.example", "a.example", 8448, echo()).await;
    net.named("a.example", "a.example", 443, Router::new()).await;
    let transport = net.transport(true);
    assert_eq!(host(&transport, "a.example").await, "a.example");
    assert!(get_path(&transport, "b.example", "/host").await.is_err());
}

#[tokio::test]
async fn redirects_of_well_known_files_end() {
    let mut net = Net::new();
    net.named("a.example", "a.example", 443, redirect("https://w.example/.well-known/matrix/server")).await;
    net.named("w.example", "w.example", 443, well_known("b.example:4444", &Arc::default())).await;
    net.named("b.example", "b.example", 4444, echo()).await;
    net.named("loop.example", "loop.example", 443, redirect("/.well-known/matrix/server")).await;
    net.named("loop.example", "loop.example", 8448, echo()).await;
    net.named("plain.example", "plain.example", 443, redirect("http://w.example/.well-known/matrix/server")).await;
    net.named("plain.example", "plain.example", 8448, echo()).await;
    let transport = net.transport(true);
    assert_eq!(host(&transport, "a.example").await, "b.example:4444");
    assert_eq!(host(&transport, "loop.example").await, "loop.example");
    assert_eq!(host(&transport, "plain.example").await, "plain.example");
}

#[tokio::test]
async fn bad_well_known_files_count_as_none() {
    let mut net = Net::new();
    let big = format!(r#"{{"m.server": "b.example:4444", "x": "{}"}}"#, "x".repeat(60_000));
    for (nth, body) in
        ["no json".to_owned(), "{}".to_owned(), r#"{"m.server": "not a name"}"#.to_owned(), big].into_iter().enumerate()
    {
        let name = format!("a{nth}.example");
        let file = Router::new().route("/.well-known/matrix/server", get(move || std::future::ready(body.clone())));
        net.named(&name, &name, 443, file).await;
        net.named(&name, &name, 8448, echo()).await;
    }
    let transport = net.transport(true);
    for nth in 0..4 {
        let name = format!("a{nth}.example");
        assert_eq!(host(&transport, &name).await, name);
    }
}

#[tokio::test]
async fn private_addresses_are_refused_by_whatever_way_they_come() {
    let mut net = Net::new();
    let count = Arc::new(AtomicUsize::new(0));
    let reached = {
        let count = Arc::clone(&count);
        Router::new().fallback(move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready("reached")
        })
    };
    let literal = net.serve("127.0.0.1", &[b"http/1.1"], reached.clone()).await;
    net.named("a.example", "a.example", 443, reached.clone()).await;
    net.named("a.example", "a.example", 8448, reached.clone()).await;
    net.srv("_matrix-fed._tcp.b.example", "c.example", 5555);
    net.named("b.example", "c.example", 5555, reached).await;
    let transport = net.transport(false);
    let mapped = format!("[::ffff:7f00:1]:{}", literal.port());
    for name in [literal.to_string().as_str(), "a.example", "b.example", "a.example:8448", &mapped] {
        let refused = get_path(&transport, name, "/host").await.unwrap_err();
        assert!(matches!(refused, TransportError::ForbiddenAddress(_)), "{name}: {refused}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn large_endless_and_slow_answers_are_given_up() {
    let mut net = Net::new();
    let endless =
        || async { Body::from_stream(stream::repeat(Bytes::from_static(&[b'x'; 1000])).map(Ok::<_, io::Error>)) };
    let slow = || async {
        let first = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"{"))]);
        Body::from_stream(first.chain(stream::pending())).into_response()
    };
    let router = Router::new()
        .route("/fits", get(|| std::future::ready("x".repeat(10_000))))
        .route("/large", get(|| std::future::ready("x".repeat(10_001))))
        .route("/endless", get(endless))
        .route("/slow", get(slow))
        .route("/silent", get(std::future::pending::<String>));
    net.named("a.example", "a.example", 8448, router).await;
    let transport = net.transport(true);
    assert_eq!(get_path(&transport, "a.example", "/fits").await.unwrap().body.len(), 10_000);
    for path in ["/large", "/endless"] {
        let refused = get_path(&transport, "a.example", path).await.unwrap_err();
        assert!(matches!(refused, TransportError::TooLarge(10_000)), "{path}: {refused}");
    }
    let limits = CallLimits { timeout: Duration::from_millis(300), max_body: 10_000 };
    for path in ["/slow", "/silent"] {
        let refused = get_within(&transport, "a.example", path, limits).await.unwrap_err();
        assert!(matches!(refused, TransportError::Timeout), "{path}: {refused}");
    }
    // Who gave no good answer can still give one.
    assert_eq!(get_path(&transport, "a.example", "/fits").await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn certificates_of_strangers_are_refused() {
    let (mut net, stranger) = (Net::new(), Net::new());
    let address = stranger.serve("a.example", &[b"http/1.1"], echo()).await;
    net.names.addresses.insert(("a.example".to_owned(), 8448), address);
    let refused = get_path(&net.transport(true), "a.example", "/host").await.unwrap_err();
    assert!(matches!(&refused, TransportError::Unreachable(why) if why.contains("TLS")), "{refused}");
}

async fn streamed(answer: crate::Streamed) -> Result<Vec<u8>, TransportError> {
    let mut body = answer.body;
    let mut whole = Vec::new();
    while let Some(piece) = body.next().await {
        whole.extend_from_slice(&piece?);
    }
    Ok(whole)
}

/// Answers with so many bytes, without saying how many that will be.
fn many(bytes: usize) -> Router {
    let pieces = move || stream::iter((0..bytes / 1000).map(|_| Ok::<_, io::Error>(Bytes::from(vec![7; 1000]))));
    Router::new().route("/many", get(move || std::future::ready(Body::from_stream(pieces()))))
}

#[tokio::test]
async fn files_come_piece_by_piece_and_within_their_bounds() {
    let mut net = Net::new();
    net.named("a.example", "a.example", 443, many(50_000)).await;
    let transport = net.transport(true);
    let call = |max_body| Call {
        destination: "a.example:443".try_into().unwrap(),
        method: Method::GET,
        target: "/many".to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        limits: CallLimits { timeout: Duration::from_secs(20), max_body },
    };
    let url = url::Url::parse("https://a.example/many").unwrap();
    let whole = streamed(transport.stream(call(50_000)).await.unwrap()).await.unwrap();
    assert_eq!(whole.len(), 50_000);
    let cut = streamed(transport.stream(call(49_999)).await.unwrap()).await.unwrap_err();
    assert!(matches!(cut, TransportError::TooLarge(49_999)), "{cut}");
    let limits = CallLimits { timeout: Duration::from_secs(20), max_body: 50_000 };
    assert_eq!(streamed(transport.get(&url, limits).await.unwrap()).await.unwrap().len(), 50_000);
    let plain = url::Url::parse("http://a.example/many").unwrap();
    assert!(matches!(transport.get(&plain, limits).await, Err(TransportError::Unreachable(_))));
}

#[tokio::test]
async fn what_another_server_points_to_is_at_allowed_addresses_only() {
    let mut net = Net::new();
    net.named("a.example", "a.example", 443, many(1000)).await;
    let transport = net.transport(false);
    let limits = CallLimits { timeout: Duration::from_secs(20), max_body: 50_000 };
    for url in ["https://a.example/many", "https://127.0.0.1/many", "https://[::1]/many", "https://10.0.0.1/"] {
        let refused = transport.get(&url::Url::parse(url).unwrap(), limits).await.unwrap_err();
        assert!(matches!(refused, TransportError::ForbiddenAddress(_)), "{url}: {refused}");
    }
}

#[tokio::test]
async fn a_url_that_a_user_named_is_posted_to_by_the_rules_for_addresses() {
    let got = |headers: HeaderMap, body: String| async move {
        let kind = headers.get(header::CONTENT_TYPE).unwrap().to_str().unwrap().to_owned();
        (StatusCode::ACCEPTED, [(header::RETRY_AFTER, "7")], format!("{kind} {body}"))
    };
    let router = Router::new()
        .route("/_matrix/push/v1/notify", axum::routing::post(got))
        .route("/elsewhere", axum::routing::post(|| async { axum::response::Redirect::temporary("/") }))
        .route("/large", axum::routing::post(|| async { vec![0u8; 4096] }));
    let mut net = Net::new();
    net.named("push.example", "push.example", 443, router.clone()).await;
    let transport = net.transport(true);
    let limits = CallLimits { max_body: 1024, ..CallLimits::default() };
    let post = |path: &str| {
        let url = format!("https://push.example{path}").parse().unwrap();
        let transport = &transport;
        async move { transport.post_json(&url, Bytes::from_static(b"{}"), limits).await }
    };
    let reply = post("/_matrix/push/v1/notify").await.unwrap();
    assert_eq!((reply.status, &*reply.body), (StatusCode::ACCEPTED, &b"application/json {}"[..]));
    assert_eq!(reply.headers.get(header::RETRY_AFTER).unwrap(), "7");
    assert_eq!(post("/elsewhere").await.unwrap().status, StatusCode::TEMPORARY_REDIRECT, "it is not followed");
    assert!(matches!(post("/large").await, Err(TransportError::TooLarge(1024))));

    let mut net = Net::new();
    net.named("push.example", "push.example", 443, router).await;
    let strict = net.transport(false);
    let allowed = |url: &str| strict.allows(&url.parse().unwrap()).is_ok();
    assert!(allowed("https://push.example/_matrix/push/v1/notify") && allowed("https://1.1.1.1/"));
    for url in
        ["http://push.example/", "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/", "https://0x7f.1/"]
    {
        assert!(!allowed(url), "{url}");
    }
    // A name says nothing of where it leads: that shows when the connection is opened.
    let url = "https://push.example/_matrix/push/v1/notify".parse().unwrap();
    let refused = strict.post_json(&url, Bytes::from_static(b"{}"), limits).await;
    assert!(matches!(refused, Err(TransportError::ForbiddenAddress(_))), "{refused:?}");
}

#[tokio::test]
async fn pages_of_the_web_come_by_http_and_https_and_from_allowed_addresses_alone() {
    use super::Web;

    let page = Router::new().route(
        "/host",
        get(|headers: HeaderMap| async move {
            headers.get(header::HOST).map_or_else(String::new, |host| host.to_str().unwrap().to_owned())
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, page).await });
    let web = |allowed: bool| {
        let mut names = Names::default();
        // Where a name leads is what counts, not how it looks.
        names.addresses.insert(("example.org".to_owned(), 80), address);
        names.addresses.insert(("example.org".to_owned(), 8080), address);
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        Web::with_resolver(allowed, clock, Arc::new(names)).unwrap()
    };
    let limits = CallLimits { timeout: Duration::from_secs(10), max_body: 100 };
    let fetch = async |web: &Web, url: &str, limits| web.get(&url.parse().unwrap(), HeaderMap::new(), limits).await;
    for url in ["http://example.org/host", "http://127.0.0.1:1/host", "http://[::1]:1/host", "https://10.0.0.1/"] {
        assert!(matches!(fetch(&web(false), url, limits).await, Err(TransportError::ForbiddenAddress(_))), "{url}");
    }
    for (url, host) in
        [("http://example.org/host", "example.org"), ("http://example.org:8080/host", "example.org:8080")]
    {
        let answer = fetch(&web(true), url, limits).await.unwrap();
        let body: Vec<Bytes> = answer.body.map(|piece| piece.unwrap()).collect().await;
        assert_eq!((answer.status, body.concat()), (StatusCode::OK, host.as_bytes().to_vec()));
    }
    let small = CallLimits { max_body: 5, ..limits };
    assert!(matches!(fetch(&web(true), "http://example.org/host", small).await, Err(TransportError::TooLarge(5))));
    // It speaks no TLS.
    let tls = format!("https://127.0.0.1:{}/host", address.port());
    assert!(matches!(fetch(&web(true), &tls, limits).await, Err(TransportError::Unreachable(_))));
}
