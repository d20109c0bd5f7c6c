//! Content: objects that are written once, read, and removed. Rows say which of them there are; an object that no row names is
//! nothing to anybody.

use std::{
    fs, io,
    path::{Path as FsPath, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    ObjectStore, ObjectStoreExt as _, aws::AmazonS3Builder, buffered::BufWriter, local::LocalFileSystem, path::Path,
    prefix::PrefixStore,
};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::{config::S3Config, error::MediaError};

/// Content on its way.
pub type Content = BoxStream<'static, Result<Bytes, MediaError>>;

/// How much of an upload is in memory on its way to the local disk, in bytes, twice at most.
const LOCAL_PIECE: usize = 256 << 10;
/// The same on its way to a bucket, which takes no smaller pieces of what is larger.
const BUCKET_PIECE: usize = 5 << 20;
/// What the library appends to the name of a file until it is whole.
const BEING_WRITTEN: &str = "#1";
/// Pieces on their way at a time.
const PIECES: usize = 2;

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) size: u64,
    /// In hexadecimal.
    pub(crate) sha256: String,
}

/// Where content is kept.
#[derive(Debug, Clone)]
pub struct Blobs {
    objects: Arc<dyn ObjectStore>,
    /// Where the objects are files that have to be synced.
    folder: Option<PathBuf>,
    piece: usize,
}

impl Blobs {
    /// In a folder, which is made where it is not there.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn folder(folder: &FsPath) -> Result<Self, MediaError> {
        fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        sync_folder(folder.parent().unwrap_or(&folder))?;
        let objects = Arc::new(LocalFileSystem::new_with_prefix(&folder)?);
        Ok(Self { objects, folder: Some(folder), piece: LOCAL_PIECE })
    }

    /// In a bucket.
    ///
    /// # Errors
    /// Where the settings do not fit together. The bucket is not asked.
    pub fn bucket(config: &S3Config) -> Result<Self, MediaError> {
        let mut builder =
            AmazonS3Builder::from_env().with_bucket_name(&config.bucket).with_allow_http(config.allow_http);
        if let Some(region) = &config.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(id) = &config.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(secret) = &config.secret_access_key {
            builder = builder.with_secret_access_key(secret);
        }
        let bucket = builder.build()?;
        let objects: Arc<dyn ObjectStore> = match &config.prefix {
            Some(prefix) => Arc::new(PrefixStore::new(bucket, prefix.as_str())),
            None => Arc::new(bucket),
        };
        Ok(Self { objects, folder: None, piece: BUCKET_PIECE })
    }

    /// In memory, for tests.
    pub fn memory() -> Self {
        Self { objects: Arc::new(object_store::memory::InMemory::new()), folder: None, piece: LOCAL_PIECE }
    }

    /// Writes a new object of at most `limit` bytes. When this returns, it is durable. Where it fails, part of the object may be there.
    pub(crate) async fn write(&self, object: &str, mut content: Content, limit: u64) -> Result<Written, MediaError> {
        let path = Path::from(object);
        let mut to = BufWriter::with_capacity(Arc::clone(&self.objects), path, self.piece).with_max_concurrency(PIECES);
        let (mut size, mut hash) = (0u64, Sha256::new());
        let copied = async {
            while let Some(piece) = content.try_next().await? {
                size += piece.len() as u64;
                if size > limit {
                    return Err(MediaError::TooLarge(format!("at most {limit} bytes")));
                }
                hash.update(&piece);
                to.put(piece).await?;
            }
            Ok(())
        };
        let copied = copied.await;
        if let Err(error) = copied {
            let _ = to.abort().await;
            return Err(error);
        }
        to.shutdown().await?;
        self.sync(object).await?;
        Ok(Written { size, sha256: hex::encode(hash.finalize()) })
    }

    /// Files are synced here: the library leaves that to the operating system.
    async fn sync(&self, object: &str) -> Result<(), MediaError> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let file = folder.join(object);
        let synced = tokio::task::spawn_blocking(move || {
            fs::File::open(&file)?.sync_all()?;
            sync_folder(file.parent().unwrap_or(&folder))?;
            // The folder between may be new.
            sync_folder(&folder)
        });
        synced.await.map_err(io::Error::other)??;
        Ok(())
    }

    /// The content of an object.
    pub(crate) async fn read(&self, object: &str) -> Result<Content, MediaError> {
        let found = self.objects.get(&Path::from(object)).await?;
        Ok(found.into_stream().map_err(MediaError::from).boxed())
    }

    /// The content of an object, whole; `None` where it is larger than `limit` bytes, or where `accept` does not want what it
    /// begins with.
    pub(crate) async fn read_whole(
        &self,
        object: &str,
        limit: usize,
        accept: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Option<Bytes>, MediaError> {
        let mut content = self.read(object).await?;
        let mut accept = Some(accept);
        let mut whole = BytesMut::new();
        while let Some(piece) = content.try_next().await? {
            if whole.len() + piece.len() > limit || accept.take().is_some_and(|accept| !accept(&piece)) {
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.freeze()))
    }

    /// Removes an object, and what there is of one that was being written when the server ended. One that is not there is no error.
    pub(crate) async fn delete(&self, object: &str) -> Result<(), MediaError> {
        if let Some(folder) = &self.folder {
            match tokio::fs::remove_file(folder.join(format!("{object}{BEING_WRITTEN}"))).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        match self.objects.delete(&Path::from(object)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Objects that are there.
    #[cfg(test)]
    pub(crate) async fn count(&self) -> usize {
        self.objects.list(None).count().await
    }
}

fn sync_folder(folder: &FsPath) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}
