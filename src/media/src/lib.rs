//! The content repository: uploads, downloads, thumbnails, and files of other servers.
//! [Content repository](https://spec.matrix.org/v1.19/client-server-api/#content-repository).
//!
//! | module | what it does |
//! | --- | --- |
//! | [`blobs`] | content: objects on the local disk or in a bucket |
//! | `tables` | rows that say what there is |
//! | `loose` | objects that no row names yet, or no longer |
//! | `uploads` | what local users upload |
//! | `owned` | what a user's files take, and removing them |
//! | `find` | from an `mxc://` address to a file |
//! | [`remote`] | files of other servers, fetched and kept for a while |
//! | `thumbnail` | pictures made smaller |
//! | [`preview`] | what links lead to |
//! | `serve` | headers under which content does no harm |
//! | `routes` | the endpoints |
//!
//! Content is written to an object of its own first and shown by the commit of its row: what is acknowledged is whole and durable, and
//! what was not is removed, at the latest when the server starts again. No content is in memory whole, save pictures being made smaller.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod blobs;
mod config;
mod error;
mod find;
mod loose;
mod owned;
pub mod preview;
pub mod remote;
mod routes;
mod serve;
mod tables;
#[cfg(test)]
mod tests;
mod thumbnail;
mod turns;
mod uploads;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

use axum::extract::FromRef;
use http_kit::{Authenticator, RateLimits};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use rand::Rng;
use ruma::OwnedServerName;
use store::{Clock, Db};
use tokio::sync::{OnceCell, Semaphore, watch};

use crate::{
    blobs::Blobs,
    loose::Loose,
    preview::{Previews, web::Web},
    remote::{RemoteKey, RemoteMedia, RemoteMediaError},
    thumbnail::ThumbnailKey,
    turns::{Slots, Turns},
};
pub use crate::{
    config::{MediaConfig, PreviewConfig, S3Config},
    error::MediaError,
    routes::router,
    thumbnail::variant::Wanted,
};

/// Files of other servers that are fetched at a time.
const FETCHES: usize = 32;
/// The same of one server.
const FETCHES_FROM_ONE: usize = 8;
/// Files that could not be had of which that is remembered.
const REFUSED: usize = 4096;

/// What the content repository is made of.
pub struct MediaParts {
    /// The database.
    pub db: Arc<Db>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for ids.
    pub rng: Box<dyn Rng + Send>,
    /// This server's name.
    pub server_name: OwnedServerName,
    /// Who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// Where content is kept.
    pub blobs: Blobs,
    /// The way to other servers.
    pub remote: Arc<dyn RemoteMedia>,
    /// What users may upload in a time.
    pub limits: Arc<RateLimits>,
    /// The way to what links lead to.
    pub web: Arc<dyn Web>,
    /// The operator's choices.
    pub config: MediaConfig,
}

/// The content repository.
pub struct Media {
    pub(crate) db: Arc<Db>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) server_name: OwnedServerName,
    pub(crate) blobs: Blobs,
    pub(crate) loose: Loose,
    pub(crate) remote: Arc<dyn RemoteMedia>,
    pub(crate) limits: Arc<RateLimits>,
    pub(crate) config: MediaConfig,
    /// Told whenever a reserved id has its upload.
    pub(crate) finished: watch::Sender<()>,
    pub(crate) reserving: Turns<u64>,
    pub(crate) uploading: Slots,
    pub(crate) fetching: Turns<RemoteKey>,
    /// By their names.
    pub(crate) fetching_from: Turns<String>,
    pub(crate) fetches: Semaphore,
    /// Until when (Unix milliseconds) a file is not asked for again, and why.
    pub(crate) refused: Cache<RemoteKey, (u64, RemoteMediaError)>,
    pub(crate) cached: OnceCell<Arc<AtomicU64>>,
    pub(crate) removing: tokio::sync::Mutex<()>,
    pub(crate) rendering: Turns<ThumbnailKey>,
    pub(crate) renders: Arc<Semaphore>,
    /// Places in the line for the two.
    pub(crate) waiting: Semaphore,
    pub(crate) previews: Option<Previews>,
    authenticator: Arc<dyn Authenticator>,
    rng: Mutex<Box<dyn Rng + Send>>,
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media").field("server", &self.server_name).field("blobs", &self.blobs).finish_non_exhaustive()
    }
}

impl Media {
    /// Puts the parts together. Have [`Media::sweep`] run once after that.
    pub fn new(parts: MediaParts) -> Arc<Self> {
        let MediaParts { db, clock, mut rng, server_name, authenticator, blobs, remote, web, limits, config } = parts;
        let loose = Loose::new(Arc::clone(&db), blobs.clone(), rng.next_u64());
        let renders = Arc::new(Semaphore::new(config.thumbnails_at_once.max(1)));
        let time = Arc::clone(&clock);
        let time = http_kit::Clock::new(move || time.now_ms());
        let previews = &config.url_previews;
        let previews = previews.enabled.then(|| Previews::new(web, previews, time));
        Arc::new(Self {
            db,
            clock,
            server_name,
            blobs,
            loose,
            remote,
            limits,
            config,
            finished: watch::Sender::new(()),
            reserving: Turns::default(),
            uploading: Slots::default(),
            fetching: Turns::default(),
            fetching_from: Turns::new(FETCHES_FROM_ONE),
            fetches: Semaphore::new(FETCHES),
            refused: Cache::new(REFUSED),
            cached: OnceCell::new(),
            removing: tokio::sync::Mutex::default(),
            rendering: Turns::default(),
            renders,
            waiting: Semaphore::new(thumbnail::MAX_WAITING),
            previews,
            authenticator,
            rng: Mutex::new(rng),
        })
    }

    fn random(&self) -> String {
        let mut rng = self.rng.lock();
        format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())
    }

    /// A fresh media id: nobody guesses it.
    pub(crate) fn new_id(&self) -> String {
        self.random()
    }

    /// A name for a fresh object, in one of 256 folders.
    pub(crate) fn new_object(&self) -> String {
        let name = self.random();
        let (folder, rest) = name.split_at(2);
        format!("{folder}/{rest}")
    }
}

/// The content repository as the handlers' state.
#[derive(Debug, Clone)]
pub struct Api(pub Arc<Media>);

impl std::ops::Deref for Api {
    type Target = Arc<Media>;

    fn deref(&self) -> &Arc<Media> {
        &self.0
    }
}

impl FromRef<Api> for Arc<dyn Authenticator> {
    fn from_ref(api: &Api) -> Self {
        Arc::clone(&api.authenticator)
    }
}
