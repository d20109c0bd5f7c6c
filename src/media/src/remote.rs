//! Files of other servers: fetched one at a time each, kept within a bound, those out of use longest removed first.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use ruma::ServerName;
use store::{CommitError, Json, Page};
use tracing::debug;

use crate::{
    Media,
    error::MediaError,
    loose::Head,
    serve,
    tables::{File, REMOTE, REMOTE_USED, RemoteRow, THUMBNAILS, ThumbnailRow},
};

/// How long a file may take to come whole.
const FETCH: Duration = Duration::from_secs(240);
/// How long it is remembered that a file could not be had, in milliseconds: who waited for the same one is not made to wait for
/// another try.
const REFUSED_MS: u64 = 10_000;
/// A use is noted where the last one noted is older than this, in milliseconds.
const NOTED_MS: u64 = 600_000;

/// The address of a file of another server: its name and the id.
pub(crate) type RemoteKey = (String, String);

/// What a fetch may cost.
#[derive(Debug, Clone, Copy)]
pub struct RemoteLimits {
    /// The size of the file, in bytes.
    pub max_size: u64,
    /// From finding the server to the end of the file.
    pub time: Duration,
    /// How long the other server may wait for an upload.
    pub wait: Duration,
}

/// A file as it comes from another server.
pub struct RemoteFile {
    /// What it says that it is.
    pub content_type: Option<String>,
    /// Its name.
    pub filename: Option<String>,
    /// The bytes.
    pub content: BoxStream<'static, Result<bytes::Bytes, RemoteMediaError>>,
}

impl Debug for RemoteFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteFile").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// Why a file of another server is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteMediaError {
    /// The server has no such file.
    #[error("there is no such file")]
    NotFound,
    /// The file is reserved there, and not uploaded yet.
    #[error("it has not been uploaded yet")]
    NotYetUploaded,
    /// It is larger than what may be fetched.
    #[error("it is too large")]
    TooLarge,
    /// The server cannot be reached, or its answer not be read.
    #[error("{0}")]
    Failed(String),
}

impl From<RemoteMediaError> for MediaError {
    fn from(error: RemoteMediaError) -> Self {
        match error {
            RemoteMediaError::NotFound => Self::NotFound,
            RemoteMediaError::NotYetUploaded => Self::NotYetUploaded,
            RemoteMediaError::TooLarge => Self::RemoteTooLarge("it is not fetched".to_owned()),
            RemoteMediaError::Failed(why) => Self::Remote(why),
        }
    }
}

/// The way to files of other servers.
pub trait RemoteMedia: Send + Sync + Debug {
    /// Begins to fetch a file.
    fn fetch<'a>(
        &'a self,
        server: &'a ServerName,
        media_id: &'a str,
        limits: RemoteLimits,
    ) -> BoxFuture<'a, Result<RemoteFile, RemoteMediaError>>;
}

/// For servers that keep to themselves: there are no other files.
#[derive(Debug, Clone, Copy)]
pub struct NoRemoteMedia;

impl RemoteMedia for NoRemoteMedia {
    fn fetch<'a>(
        &'a self,
        _: &'a ServerName,
        _: &'a str,
        _: RemoteLimits,
    ) -> BoxFuture<'a, Result<RemoteFile, RemoteMediaError>> {
        Box::pin(std::future::ready(Err(RemoteMediaError::NotFound)))
    }
}

impl Media {
    /// Fetches a file that is not here. It goes on to its end, good or bad, also where the caller is dropped.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        server: &ServerName,
        key: RemoteKey,
        wait: Duration,
    ) -> Result<RemoteRow, MediaError> {
        let (media, server) = (Arc::clone(self), server.to_owned());
        let task = tokio::spawn(async move {
            let _turn = media.fetching.take(key.clone()).await;
            // Somebody else may have fetched it, or tried to, while this one waited.
            if let Some(Json(row)) = media.db.get(&REMOTE, &key).await? {
                return Ok(row);
            }
            if let Some((until, why)) = media.refused.get(&key)
                && media.clock.now_ms() < until
            {
                return Err(why.into());
            }
            // A slow server keeps others' files waiting no longer than its own.
            let _one_of_few = media.fetching_from.take(key.0.clone()).await;
            let _place = media.fetches.acquire().await.map_err(std::io::Error::other)?;
            let limits = RemoteLimits { max_size: media.config.max_remote(), time: FETCH, wait };
            let fetched = media.take_over(&server, &key, limits).await;
            if let Err(error) = &fetched {
                debug!(server = key.0, id = key.1, %error, "a file was not fetched");
                media.remember_refusal(key, error);
            }
            fetched
        });
        task.await.map_err(std::io::Error::other)?
    }

    fn remember_refusal(&self, key: RemoteKey, error: &MediaError) {
        let why = match error {
            MediaError::NotFound => RemoteMediaError::NotFound,
            MediaError::RemoteTooLarge(_) => RemoteMediaError::TooLarge,
            MediaError::Remote(why) => RemoteMediaError::Failed(why.clone()),
            // What went wrong here, or may be there in a moment.
            _ => return,
        };
        self.refused.insert(key, (self.clock.now_ms().saturating_add(REFUSED_MS), why));
    }

    async fn take_over(
        &self,
        server: &ServerName,
        key: &RemoteKey,
        limits: RemoteLimits,
    ) -> Result<RemoteRow, MediaError> {
        let RemoteFile { content_type, filename, content } = self.remote.fetch(server, &key.1, limits).await?;
        let head =
            Head { content_type: serve::content_type(content_type.as_deref()), filename: serve::filename(filename) };
        let content = content.map(|piece| piece.map_err(MediaError::from)).boxed();
        let file = self.loose.take_in(self.new_object(), head, content, limits.max_size).await;
        let file = file.map_err(|error| match error {
            MediaError::TooLarge(why) => MediaError::RemoteTooLarge(why),
            other => other,
        })?;
        self.keep_fetched(key, file).await
    }

    /// Keeps what was taken in, and removes others where there is no room for it.
    pub(crate) async fn keep_fetched(&self, key: &RemoteKey, file: File) -> Result<RemoteRow, MediaError> {
        let (object, size, now) = (file.object.clone(), file.size, self.clock.now_ms());
        let open = self.config.unauthenticated_downloads;
        let row = RemoteRow { file, fetched_ms: now, used_ms: now, open, quarantined: false };
        // Counted before the row is there: who counts later, counts it.
        let total = self.cached_bytes().await?;
        let mut write = self.db.write();
        self.loose.bind(&mut write, &object);
        write.require(REMOTE.absent(key)).put(&REMOTE, key, &Json(row.clone()));
        write.put(&REMOTE_USED, &(now, key.0.clone(), key.1.clone()), &size);
        self.loose.settle(&object, write.commit().await).await?;
        total.fetch_add(size, Ordering::AcqRel);
        self.make_room(key).await?;
        Ok(row)
    }

    /// Notes that a file was used.
    pub(crate) async fn touch(&self, key: &RemoteKey, row: &RemoteRow) -> Result<(), MediaError> {
        let now = self.clock.now_ms();
        if now < row.used_ms.saturating_add(NOTED_MS) {
            return Ok(());
        }
        let used = |at: u64| (at, key.0.clone(), key.1.clone());
        let mut write = self.db.write();
        write.require(REMOTE.equals(key, &Json(row.clone())));
        write.put(&REMOTE, key, &Json(RemoteRow { used_ms: now, ..row.clone() }));
        write.delete(&REMOTE_USED, &used(row.used_ms)).put(&REMOTE_USED, &used(now), &row.file.size);
        match write.commit().await {
            // Somebody else did, or it was removed.
            Ok(()) | Err(CommitError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes of all files and thumbnails of other servers that are kept; counted once, then carried on.
    pub(crate) async fn cached_bytes(&self) -> Result<&Arc<AtomicU64>, MediaError> {
        self.cached.get_or_try_init(|| self.count_cached()).await
    }

    async fn count_cached(&self) -> Result<Arc<AtomicU64>, MediaError> {
        let mut total: u64 = self.db.scan_all(&REMOTE_USED, &()).await?.iter().map(|(_, size)| size).sum();
        for ((server, id, _), Json(thumbnail)) in self.db.scan_all(&THUMBNAILS, &()).await? {
            let ThumbnailRow::Made { size, .. } = thumbnail else { continue };
            // Of what has an address of this server, only pictures of previews are kept here.
            if server != self.server_name.as_str() || self.db.get(&REMOTE, &(server, id)).await?.is_some() {
                total += size;
            }
        }
        Ok(Arc::new(total.into()))
    }

    /// Removes files of other servers, oldest use first, until what is kept is within its bound. The one just fetched stays.
    async fn make_room(&self, spared: &RemoteKey) -> Result<(), MediaError> {
        let total = self.cached_bytes().await?;
        let _alone = self.removing.lock().await;
        let mut after = (0, String::new(), String::new());
        while total.load(Ordering::Acquire) > self.config.remote_cache() {
            let rows = self.db.scan(&REMOTE_USED, &after, &u64::MAX, Page::first(1)).await?;
            let Some(((used, server, id), _)) = rows.into_iter().next() else { return Ok(()) };
            // The first place behind this one.
            after = (used, server.clone(), format!("{id}\0"));
            let key = (server, id);
            if key != *spared {
                let freed = self.remove_remote(&key).await?;
                total.fetch_sub(freed.min(total.load(Ordering::Acquire)), Ordering::AcqRel);
            }
        }
        Ok(())
    }

    /// Removes a file that is out of use.
    pub(crate) async fn let_go(&self, key: &RemoteKey) -> Result<(), MediaError> {
        let total = self.cached_bytes().await?;
        let _alone = self.removing.lock().await;
        let freed = self.remove_remote(key).await?;
        total.fetch_sub(freed.min(total.load(Ordering::Acquire)), Ordering::AcqRel);
        Ok(())
    }

    /// Removes a file of another server and its thumbnails; how many bytes that were.
    async fn remove_remote(&self, key: &RemoteKey) -> Result<u64, MediaError> {
        let Some(Json(row)) = self.db.get(&REMOTE, key).await? else { return Ok(0) };
        // Quarantine outlives the bytes' use: fetched again, it would be free.
        if row.quarantined {
            return Ok(0);
        }
        let mut objects = vec![(row.file.object.clone(), row.file.size)];
        let mut write = self.db.write();
        for (thumbnail, Json(made)) in self.db.scan_all(&THUMBNAILS, key).await? {
            write.delete(&THUMBNAILS, &thumbnail);
            if let ThumbnailRow::Made { object, size, .. } = made {
                objects.push((object, size));
            }
        }
        write.delete(&REMOTE_USED, &(row.used_ms, key.0.clone(), key.1.clone()));
        write.require(REMOTE.equals(key, &Json(row))).delete(&REMOTE, key);
        for (object, _) in &objects {
            self.loose.release(&mut write, object);
        }
        match write.commit().await {
            Ok(()) => {}
            // It was used just now, and stays.
            Err(CommitError::Conflict) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        for (object, _) in &objects {
            self.loose.discard(object).await;
        }
        Ok(objects.iter().map(|(_, size)| size).sum())
    }
}
