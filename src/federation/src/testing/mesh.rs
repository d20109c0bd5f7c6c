//! The network between the servers of a world.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use http::{HeaderMap, Method, Request};
use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};
use tower::ServiceExt as _;
use url::Url;

use crate::transport::{Call, CallLimits, Reply, Streamed, Transport, TransportError};

/// What the network does to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// How long the request is on its way.
    pub delay: Duration,
    /// How long the answer is on its way.
    pub reply_delay: Duration,
    /// How often the request arrives; 0: it is lost.
    pub times: u8,
    /// A copy arrives after this time as well, behind what was sent later.
    pub again: Option<Duration>,
    /// The answer is lost.
    pub lose_reply: bool,
}

impl Fate {
    /// It arrives at once, and so does the answer.
    pub const DELIVERED: Self =
        Self { delay: Duration::ZERO, reply_delay: Duration::ZERO, times: 1, again: None, lose_reply: false };
    /// It never arrives.
    pub const LOST: Self = Self { times: 0, ..Self::DELIVERED };
}

/// Decides what becomes of a call from a server.
pub type Judge = Arc<dyn Fn(&ServerName, &Call) -> Fate + Send + Sync>;

/// Sees every call of a server and what came of it.
pub type Watch = Arc<dyn Fn(&ServerName, &Call, &Result<Reply, TransportError>) + Send + Sync>;

/// What becomes of a call from a server: a bug planted between two servers, or in one of them as the others see it.
pub type Meddler = Arc<dyn Fn(&ServerName, Call) -> Call + Send + Sync>;

/// Which servers there are, how to reach them, and what is broken between them.
#[derive(Default)]
pub struct Mesh {
    routers: Mutex<BTreeMap<OwnedServerName, Router>>,
    cut: Mutex<BTreeSet<(String, String)>>,
    judge: Mutex<Option<Judge>>,
    watch: Mutex<Option<Watch>>,
    meddler: Mutex<Option<Meddler>>,
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("cut", &self.cut).finish_non_exhaustive()
    }
}

impl Mesh {
    /// What decides about every call from now on.
    pub fn judge(&self, judge: impl Fn(&ServerName, &Call) -> Fate + Send + Sync + 'static) {
        *self.judge.lock() = Some(Arc::new(judge));
    }

    /// What sees every call from now on.
    pub fn watch(&self, watch: impl Fn(&ServerName, &Call, &Result<Reply, TransportError>) + Send + Sync + 'static) {
        *self.watch.lock() = Some(Arc::new(watch));
    }

    /// What changes every call from now on.
    pub fn meddle(&self, meddler: Meddler) {
        *self.meddler.lock() = Some(meddler);
    }

    /// Whether calls from one server reach another.
    pub fn set_link(&self, from: &str, to: &str, up: bool) {
        let link = (from.to_owned(), to.to_owned());
        if up {
            self.cut.lock().remove(&link)
        } else {
            self.cut.lock().insert(link)
        };
    }

    /// Heals all links and delivers everything, unchanged.
    pub fn heal(&self) {
        self.cut.lock().clear();
        *self.judge.lock() = None;
        *self.meddler.lock() = None;
    }

    /// A server that answers by a router of the test's own, such as a hostile one.
    pub fn answer_by(&self, name: &str, router: Router) {
        self.routers.lock().insert(name.try_into().unwrap(), router);
    }

    pub(super) fn forget(&self, name: &ServerName) {
        self.routers.lock().remove(name);
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        self.cut.lock().contains(&(from.to_owned(), to.to_owned()))
    }

    fn fate(&self, from: &ServerName, call: &Call) -> Fate {
        let judge = self.judge.lock().clone();
        judge.map_or(Fate::DELIVERED, |judge| judge(from, call))
    }

    /// A call whose answer is given on as it comes; links count, fates do not.
    async fn stream(self: Arc<Self>, from: OwnedServerName, call: Call) -> Result<Streamed, TransportError> {
        if self.is_cut(from.as_str(), call.destination.as_str()) {
            return unreachable("the link is cut");
        }
        let router = self.routers.lock().get(&call.destination).cloned();
        let Some(router) = router else { return unreachable("the server is down") };
        let Call { method, target, headers, body, limits, .. } = call;
        let mut request = Request::builder().method(method).uri(target).body(Body::from(body)).unwrap();
        *request.headers_mut() = headers;
        let Ok(response) = router.oneshot(request).await;
        let (head, body) = response.into_parts();
        let max = limits.max_body;
        let body = body.into_data_stream().scan(0, move |read, piece| {
            let piece = piece.map_err(|error| TransportError::Unreachable(error.to_string()));
            *read += piece.as_ref().map_or(0, Bytes::len);
            std::future::ready(Some(if *read > max { Err(TransportError::TooLarge(max)) } else { piece }))
        });
        Ok(Streamed { status: head.status, headers: head.headers, body: body.boxed() })
    }

    async fn deliver(self: Arc<Self>, from: OwnedServerName, call: Call) -> Result<Reply, TransportError> {
        let fate = self.fate(&from, &call);
        let meddler = self.meddler.lock().clone();
        let call = match &meddler {
            Some(meddler) => meddler(&from, call),
            None => call,
        };
        let to = call.destination.clone();
        if let Some(again) = fate.again {
            let late = Fate { delay: again, times: 1, ..fate };
            tokio::spawn(Arc::clone(&self).arrive(from.clone(), call.clone(), late));
        }
        // What is under way arrives, and is dealt with, whether or not the sender still waits.
        let arrived = tokio::spawn(Arc::clone(&self).arrive(from.clone(), call, fate));
        let reply = arrived.await.map_err(|error| TransportError::Unreachable(error.to_string()))??;
        let Some(reply) = reply.filter(|_| !fate.lose_reply) else {
            // Silence, until the caller gives up.
            return std::future::pending().await;
        };
        tokio::time::sleep(fate.reply_delay).await;
        if self.is_cut(to.as_str(), from.as_str()) || !self.routers.lock().contains_key(&to) {
            return unreachable("the link broke");
        }
        Ok(reply)
    }

    /// The way there. The first answer, where it arrives.
    async fn arrive(
        self: Arc<Self>,
        from: OwnedServerName,
        call: Call,
        fate: Fate,
    ) -> Result<Option<Reply>, TransportError> {
        tokio::time::sleep(fate.delay).await;
        if self.is_cut(from.as_str(), call.destination.as_str()) {
            return unreachable("the link is cut");
        }
        let mut reply = None;
        for _ in 0..fate.times {
            let router = self.routers.lock().get(&call.destination).cloned();
            let Some(router) = router else { return unreachable("the server is down") };
            let answer = answer(router, call.clone()).await?;
            reply.get_or_insert(answer);
        }
        Ok(reply)
    }
}

fn unreachable<T>(why: &str) -> Result<T, TransportError> {
    Err(TransportError::Unreachable(why.to_owned()))
}

async fn answer(router: Router, call: Call) -> Result<Reply, TransportError> {
    let Call { method, target, headers, body, limits, .. } = call;
    let mut request = Request::builder().method(method).uri(target).body(Body::from(body)).unwrap();
    *request.headers_mut() = headers;
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status();
    let body = read(response.into_body(), &limits).await?;
    Ok(Reply { status, body })
}

async fn read(body: Body, limits: &CallLimits) -> Result<Bytes, TransportError> {
    axum::body::to_bytes(body, limits.max_body).await.map_err(|_| TransportError::TooLarge(limits.max_body))
}

/// A server's way into the [`Mesh`].
pub struct MeshTransport {
    pub(super) from: OwnedServerName,
    pub(super) mesh: Arc<Mesh>,
    /// Whether the server still runs: what is left of one that crashed sends nothing.
    pub(super) alive: Arc<AtomicBool>,
}

impl fmt::Debug for MeshTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshTransport").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Transport for MeshTransport {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, TransportError>> {
        async move {
            if !self.alive.load(Ordering::Acquire) {
                return Err(TransportError::Unreachable("this server is down".to_owned()));
            }
            let timeout = call.limits.timeout;
            let watch = self.mesh.watch.lock().clone().map(|watch| (watch, call.clone()));
            let delivery = Arc::clone(&self.mesh).deliver(self.from.clone(), call);
            let reply = tokio::time::timeout(timeout, delivery).await.unwrap_or(Err(TransportError::Timeout));
            if let Some((watch, call)) = watch {
                watch(&self.from, &call, &reply);
            }
            if self.alive.load(Ordering::Acquire) { reply } else { Err(TransportError::Timeout) }
        }
        .boxed()
    }

    fn stream(&self, call: Call) -> BoxFuture<'_, Result<Streamed, TransportError>> {
        Arc::clone(&self.mesh).stream(self.from.clone(), call).boxed()
    }

    /// The web is made of the same routers, by their hosts.
    fn get<'a>(&'a self, url: &'a Url, limits: CallLimits) -> BoxFuture<'a, Result<Streamed, TransportError>> {
        let destination = url.host_str().unwrap().try_into().unwrap();
        let target = url[url::Position::BeforePath..].to_owned();
        let (method, headers, body) = (Method::GET, HeaderMap::new(), Bytes::new());
        self.stream(Call { destination, method, target, headers, body, limits })
    }
}
