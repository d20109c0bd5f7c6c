//! Thumbnails: made when they are asked for, a few at a time, and kept.

pub(crate) mod render;
pub(crate) mod variant;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt as _;
use ruma::ServerName;
use store::{CommitError, DbWrite, Json};
use tokio::sync::OwnedSemaphorePermit;

use self::{
    render::{Rendered, is_picture, render},
    variant::{Variant, Wanted},
};
use crate::{
    Media,
    error::MediaError,
    find::{Effort, Found},
    loose::Head,
    serve::Served,
    tables::{MEDIA, REMOTE, State, THUMBNAILS, ThumbnailRow},
};

/// The largest picture that is read into memory to be made smaller, in bytes.
const MAX_SOURCE: usize = 32 << 20;
/// Requests that wait for a thumbnail that is to be made, at most.
pub(crate) const MAX_WAITING: usize = 500;
/// When to ask again where so many wait.
const AGAIN: Duration = Duration::from_secs(5);

/// (server, id, variant)
pub(crate) type ThumbnailKey = (String, String, String);

impl Media {
    /// A thumbnail of a picture, or the picture where that is small enough.
    pub(crate) async fn thumbnail(
        self: &Arc<Self>,
        server: &ServerName,
        id: &str,
        wanted: Wanted,
        effort: Effort,
    ) -> Result<Served, MediaError> {
        let variant = Variant::of(wanted).ok_or_else(|| MediaError::NoThumbnail("a side has no length".to_owned()))?;
        let found = self.find(server, id, effort).await?;
        let key = (server.as_str().to_owned(), id.to_owned(), variant.name());
        if let Some(Json(row)) = self.db.get(&THUMBNAILS, &key).await? {
            return self.show(&found, row).await;
        }
        // Whoever does not wait any more has left the line: nothing is made for nobody.
        let waiting = self.waiting.try_acquire().map_err(|_| MediaError::TooMany(AGAIN))?;
        let turn = self.rendering.take(key.clone()).await;
        if let Some(Json(row)) = self.db.get(&THUMBNAILS, &key).await? {
            return self.show(&found, row).await;
        }
        // Few at a time, from the bytes on: each holds a whole picture in memory.
        let place = Arc::clone(&self.renders).acquire_owned().await.map_err(std::io::Error::other)?;
        drop(waiting);
        // What was begun is finished and kept, whether or not the one who asked still waits.
        let media = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _turn = turn;
            media.make(found, key, variant, place).await
        });
        task.await.map_err(std::io::Error::other)?
    }

    async fn make(
        &self,
        found: Found,
        key: ThumbnailKey,
        variant: Variant,
        place: OwnedSemaphorePermit,
    ) -> Result<Served, MediaError> {
        let rendered = self.render(&found, variant, place).await;
        let rendered = rendered.map_err(|error| match error {
            MediaError::TooLarge(why) if !found.own => MediaError::RemoteTooLarge(why),
            other => other,
        })?;
        match rendered {
            Rendered::Original(content_type) => {
                let row = ThumbnailRow::Original { content_type: content_type.to_owned() };
                self.keep_thumbnail(&found, &key, row.clone(), None).await?;
                self.show(&found, row).await
            }
            Rendered::Made(bytes, content_type) => {
                let bytes = Bytes::from(bytes);
                self.store_thumbnail(&found, &key, bytes.clone(), content_type).await?;
                Ok(served(content_type, bytes.len() as u64, futures::stream::iter([Ok(bytes)]).boxed()))
            }
        }
    }

    async fn render(
        &self,
        found: &Found,
        variant: Variant,
        place: OwnedSemaphorePermit,
    ) -> Result<Rendered, MediaError> {
        let too_large = || MediaError::TooLarge(format!("at most {MAX_SOURCE} bytes are made smaller"));
        if found.file.size > MAX_SOURCE as u64 {
            return Err(too_large());
        }
        let source = self.blobs.read_whole(&found.file.object, MAX_SOURCE, is_picture).await?;
        let source = source.ok_or_else(|| MediaError::NoThumbnail("it is no picture of a known kind".to_owned()))?;
        let max_pixels = self.config.max_pixels();
        let rendered = tokio::task::spawn_blocking(move || {
            let _place = place;
            render(&source, variant, max_pixels)
        });
        rendered.await.map_err(std::io::Error::other)?
    }

    async fn show(&self, found: &Found, row: ThumbnailRow) -> Result<Served, MediaError> {
        Ok(match row {
            ThumbnailRow::Original { content_type } => {
                served(&content_type, found.file.size, self.blobs.read(&found.file.object).await?)
            }
            ThumbnailRow::Made { object, size, content_type } => {
                served(&content_type, size, self.blobs.read(&object).await?)
            }
        })
    }

    async fn store_thumbnail(
        &self,
        found: &Found,
        key: &ThumbnailKey,
        bytes: Bytes,
        content_type: &str,
    ) -> Result<(), MediaError> {
        let head = Head { content_type: content_type.to_owned(), filename: None };
        let content = futures::stream::iter([Ok(bytes)]).boxed();
        let file = self.loose.take_in(self.new_object(), head, content, u64::MAX).await?;
        let row = ThumbnailRow::Made { object: file.object.clone(), size: file.size, content_type: file.content_type };
        self.keep_thumbnail(found, key, row, Some((file.object, file.size))).await
    }

    /// Keeps a thumbnail as long as its picture is there.
    async fn keep_thumbnail(
        &self,
        found: &Found,
        key: &ThumbnailKey,
        row: ThumbnailRow,
        made: Option<(String, u64)>,
    ) -> Result<(), MediaError> {
        let mut write = self.db.write();
        write.put(&THUMBNAILS, key, &Json(row));
        // It may be removed at any moment, and its thumbnails with it.
        if !self.as_long_as_it_is_there(&mut write, found, key).await? {
            drop(write);
            if let Some((object, _)) = &made {
                self.loose.discard(object).await;
            }
            return Ok(());
        }
        let Some((object, size)) = made else { return ignoring_conflict(write.commit().await) };
        self.loose.bind(&mut write, &object);
        let total = if found.own { None } else { Some(self.cached_bytes().await?) };
        let committed = self.loose.settle(&object, write.commit().await).await;
        if let (Ok(()), Some(total)) = (&committed, total) {
            total.fetch_add(size, Ordering::AcqRel);
        }
        ignoring_conflict(committed)
    }

    /// Makes a commit depend on a picture. False where that is gone.
    async fn as_long_as_it_is_there(
        &self,
        write: &mut DbWrite<'_>,
        found: &Found,
        (server, id, _): &ThumbnailKey,
    ) -> Result<bool, MediaError> {
        if found.own {
            return Ok(match self.db.get(&MEDIA, id).await? {
                Some(Json(row)) if row.state == State::Complete(found.file.clone()) => {
                    write.require(MEDIA.equals(id, &Json(row)));
                    true
                }
                _ => false,
            });
        }
        let of = (server.clone(), id.clone());
        Ok(match self.db.get(&REMOTE, &of).await? {
            Some(Json(row)) if row.file == found.file => {
                write.require(REMOTE.equals(&of, &Json(row)));
                true
            }
            _ => false,
        })
    }
}

/// Where the picture was touched or removed meanwhile, the thumbnail is made again when it is asked for again.
fn ignoring_conflict(committed: Result<(), CommitError>) -> Result<(), MediaError> {
    match committed {
        Ok(()) | Err(CommitError::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn served(content_type: &str, size: u64, content: crate::blobs::Content) -> Served {
    let kind = content_type.strip_prefix("image/").unwrap_or("bin");
    let filename = Some(format!("thumbnail.{kind}"));
    Served { content_type: content_type.to_owned(), filename, size, content }
}
