//! What the tests of this crate share: the whole router over the in-memory store, users whose token is their name, and other servers
//! that do as they are told.

mod bucket;
mod downloads;
mod kept;
mod previews;
mod remote;
mod removed;
mod thumbnails;
mod uploads;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use http::{HeaderMap, Method, Request, header};
use http_kit::{AuthError, AuthFuture, Authenticator, RequestMeta, Requester, RequesterInfo};
use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::StdRng};
use ruma::ServerName;
use serde_json::Value;
use store::{Clock, CommitterOptions, Db, ManualClock, MemoryStore, Store, open_schema};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::{
    Api, Media, MediaConfig, MediaParts,
    blobs::Blobs,
    preview::web::Web,
    remote::{RemoteFile, RemoteLimits, RemoteMedia, RemoteMediaError},
};

/// The name of the server under test.
pub(crate) const SERVER: &str = "hs";

/// Users and their numbers; their names are their tokens.
struct Names;

impl Authenticator for Names {
    fn authenticate<'a>(&'a self, token: &'a str, _: RequestMeta<'a>) -> AuthFuture<'a> {
        let user = match token {
            "alice" => Ok(1),
            "bob" => Ok(2),
            "root" => Ok(3),
            _ => Err(AuthError::UnknownToken { soft_logout: false }),
        };
        let requester = user.map(|user| {
            Requester::new(RequesterInfo {
                user_id: format!("@{token}:{SERVER}").try_into().unwrap(),
                user,
                device_id: None,
                admin: token == "root",
                suspended: false,
                appservice: None,
            })
        });
        std::future::ready(requester).boxed()
    }
}

/// What another server answers.
pub(crate) type Script = Arc<dyn Fn() -> Result<RemoteFile, RemoteMediaError> + Send + Sync>;

/// Other servers: scripts by ids, which answer once they are let.
#[derive(Default)]
pub(crate) struct Others {
    scripts: Mutex<HashMap<String, Script>>,
    pub(crate) asked: AtomicUsize,
    /// Where there is one, each answer takes a permit of it.
    pub(crate) gate: Mutex<Option<Arc<Semaphore>>>,
}

impl std::fmt::Debug for Others {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Others").finish_non_exhaustive()
    }
}

impl Others {
    pub(crate) fn answer(
        &self,
        id: &str,
        script: impl Fn() -> Result<RemoteFile, RemoteMediaError> + Send + Sync + 'static,
    ) {
        self.scripts.lock().insert(id.to_owned(), Arc::new(script));
    }

    /// A file of these bytes, in pieces.
    pub(crate) fn has(&self, id: &str, content_type: &'static str, bytes: Vec<u8>) {
        self.answer(id, move || Ok(file(content_type, pieces(&bytes))));
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub(crate) fn pieces(bytes: &[u8]) -> Vec<Result<Bytes, RemoteMediaError>> {
    bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

pub(crate) fn file(content_type: &str, pieces: Vec<Result<Bytes, RemoteMediaError>>) -> RemoteFile {
    RemoteFile {
        content_type: Some(content_type.to_owned()),
        filename: Some("theirs.bin".to_owned()),
        content: futures::stream::iter(pieces).boxed(),
    }
}

impl RemoteMedia for Others {
    fn fetch<'a>(
        &'a self,
        _: &'a ServerName,
        media_id: &'a str,
        _: RemoteLimits,
    ) -> BoxFuture<'a, Result<RemoteFile, RemoteMediaError>> {
        async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let gate = self.gate.lock().clone();
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            let script = self.scripts.lock().get(media_id).cloned();
            script.map_or(Err(RemoteMediaError::NotFound), |script| script())
        }
        .boxed()
    }
}

/// A server as its clients see it.
pub(crate) struct TestMedia {
    pub(crate) media: Arc<Media>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) others: Arc<Others>,
    pub(crate) sites: Arc<previews::Sites>,
    store: Arc<MemoryStore>,
    router: Router,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// The success that it has to be.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{:?}", self.bytes);
        self
    }

    /// Refused with this status and code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, errcode: &str) -> Value {
        let json = self.json();
        assert_eq!((self.status, json["errcode"].as_str()), (status, Some(errcode)), "{json}");
        assert!(json["error"].is_string(), "{json}");
        json
    }

    /// The id in a `content_uri` of this server.
    #[track_caller]
    pub(crate) fn id(self) -> String {
        let json = self.ok().json();
        json["content_uri"].as_str().unwrap().strip_prefix("mxc://hs/").unwrap().to_owned()
    }
}

impl TestMedia {
    pub(crate) fn new() -> Self {
        Self::with(MediaConfig::default())
    }

    pub(crate) fn with(config: MediaConfig) -> Self {
        Self::over(Arc::default(), Blobs::memory(), config)
    }

    pub(crate) fn over(store: Arc<MemoryStore>, blobs: Blobs, config: MediaConfig) -> Self {
        open_schema(&*store, 1, &[]).unwrap();
        let db = Db::open(Arc::clone(&store) as Arc<dyn Store>, CommitterOptions::default(), |_| {}).unwrap();
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let others: Arc<Others> = Arc::default();
        let sites: Arc<previews::Sites> = Arc::default();
        let media = Media::new(MediaParts {
            db,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            rng: Box::new(StdRng::from_rng(&mut rand::rng())),
            server_name: SERVER.try_into().unwrap(),
            authenticator: Arc::new(Names),
            blobs,
            limits: Arc::new(http_kit::RateLimits::off()),
            remote: Arc::clone(&others) as Arc<dyn RemoteMedia>,
            web: Arc::clone(&sites) as Arc<dyn Web>,
            config,
        });
        let router = http_kit::finish(crate::router().with_state(Api(Arc::clone(&media))));
        Self { media, clock, others, sites, store, router }
    }

    /// As after a start of the server, with other settings.
    pub(crate) fn restarted(self, config: MediaConfig) -> Self {
        let Self { media, store, .. } = self;
        let blobs = media.blobs.clone();
        drop(media);
        Self::over(store, blobs, config)
    }

    /// A request to a whole path, by the user with this token; without one where it is empty.
    pub(crate) async fn request(
        &self,
        method: Method,
        who: &str,
        path: &str,
        headers: &[(header::HeaderName, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !who.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {who}"));
        }
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, bytes }
    }

    pub(crate) async fn get(&self, who: &str, path: &str) -> Answer {
        self.request(Method::GET, who, path, &[], Body::empty()).await
    }

    pub(crate) async fn upload(&self, query: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        let path = format!("/_matrix/media/v3/upload{query}");
        self.request(Method::POST, "alice", &path, &[(header::CONTENT_TYPE, content_type)], body.into()).await
    }

    pub(crate) async fn create(&self, who: &str) -> Answer {
        self.request(Method::POST, who, "/_matrix/media/v1/create", &[], Body::empty()).await
    }

    pub(crate) async fn upload_to(&self, who: &str, id: &str, body: impl Into<Body>) -> Answer {
        let path = format!("/_matrix/media/v3/upload/hs/{id}?filename=later.txt");
        self.request(Method::PUT, who, &path, &[(header::CONTENT_TYPE, "text/plain")], body.into()).await
    }

    /// A download by Alice, of `server/id`, perhaps with a name or a query behind it.
    pub(crate) async fn download(&self, what: &str) -> Answer {
        self.get("alice", &format!("/_matrix/client/v1/media/download/{what}")).await
    }

    /// Objects, and objects that no row names.
    pub(crate) async fn objects(&self) -> (usize, usize) {
        let loose = self.media.db.scan_all(&crate::tables::LOOSE, &()).await.unwrap();
        (self.media.blobs.count().await, loose.len())
    }
}
