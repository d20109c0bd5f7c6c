//! Files that local users upload, at once or to an id that they reserved.

use std::{sync::Arc, time::Duration};

use ruma::ServerName;
use store::{CommitError, Json, Page};

use crate::{
    Media,
    blobs::Content,
    error::MediaError,
    loose::Head,
    tables::{MEDIA, MediaRow, PENDING, STORED, State},
    turns::Slot,
};

/// Uploads that a user may have under way.
const AT_ONCE: usize = 8;
/// When somebody with too many of them should try again.
const AGAIN: Duration = Duration::from_secs(1);
/// Ended reservations of a user that are removed when they make one: more than one, so that they do not pile up.
const SWEEP: usize = 16;

/// An id that waits for its upload.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) id: String,
    /// Unix milliseconds.
    pub(crate) expires_ms: u64,
}

/// An upload that may begin.
#[derive(Debug)]
pub(crate) struct Ready {
    owner: u64,
    id: Option<(String, MediaRow)>,
    _slot: Slot,
}

impl Media {
    /// Reserves an id.
    pub(crate) async fn reserve(&self, owner: u64) -> Result<Reserved, MediaError> {
        // Counting and reserving are one step.
        let _turn = self.reserving.take(owner).await;
        let now = self.clock.now_ms();
        let limit = self.config.max_pending_uploads;
        let rows = self.db.scan_prefix(&PENDING, &owner, Page::first(limit.saturating_add(SWEEP))).await?;
        let (ended, waiting): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, expires)| *expires <= now);
        if waiting.len() >= limit {
            let first = waiting.iter().map(|(_, expires)| *expires).min().unwrap_or(now);
            return Err(MediaError::TooMany(Duration::from_millis(first.saturating_sub(now))));
        }
        let id = self.new_id();
        let expires_ms = now.saturating_add(u64::try_from(self.config.pending().as_millis()).unwrap_or(u64::MAX));
        let row = self.row(owner, State::Reserved { expires_ms });
        let mut write = self.db.write();
        for (key, _) in ended {
            write.delete(&MEDIA, &key.1).delete(&PENDING, &key);
        }
        write.require(MEDIA.absent(&id)).put(&MEDIA, &id, &Json(row)).put(&PENDING, &(owner, id.clone()), &expires_ms);
        write.commit().await?;
        Ok(Reserved { id, expires_ms })
    }

    /// Whether a user may upload now.
    pub(crate) fn ready(&self, owner: u64) -> Result<Ready, MediaError> {
        let slot = self.uploading.take(owner, AT_ONCE).ok_or(MediaError::TooMany(AGAIN))?;
        Ok(Ready { owner, id: None, _slot: slot })
    }

    /// Whether a user may upload to an id now.
    pub(crate) async fn ready_for(&self, owner: u64, server: &ServerName, id: String) -> Result<Ready, MediaError> {
        let mut ready = self.ready(owner)?;
        if server != self.server_name {
            return Err(MediaError::NotFound);
        }
        let Json(row) = self.db.get(&MEDIA, &id).await?.ok_or(MediaError::NotFound)?;
        if row.owner != owner {
            return Err(MediaError::NotYours);
        }
        match row.state {
            State::Reserved { expires_ms } if self.clock.now_ms() < expires_ms => {
                ready.id = Some((id, row));
                Ok(ready)
            }
            State::Reserved { .. } => Err(MediaError::NotFound),
            State::Complete(_) | State::Quarantined(_) => Err(MediaError::CannotOverwrite),
        }
    }

    /// Keeps an upload, and returns its id. It goes on to its end, good or bad, also where the caller is dropped.
    pub(crate) async fn upload(
        self: &Arc<Self>,
        ready: Ready,
        head: Head,
        content: Content,
    ) -> Result<String, MediaError> {
        let media = Arc::clone(self);
        let task = tokio::spawn(async move { media.keep(ready, head, content).await });
        task.await.map_err(std::io::Error::other)?
    }

    fn no_room(&self) -> MediaError {
        MediaError::NoRoom(self.config.user_quota_page.clone())
    }

    async fn keep(&self, ready: Ready, head: Head, content: Content) -> Result<String, MediaError> {
        let Ready { owner, id: reserved, _slot } = ready;
        let (limit, left) = (self.config.max_upload(), self.room_left(owner).await?);
        if left == 0 {
            return Err(self.no_room());
        }
        let taken = self.loose.take_in(self.new_object(), head, content, limit.min(left)).await;
        let file = taken.map_err(|error| match error {
            MediaError::TooLarge(_) if left < limit => self.no_room(),
            other => other,
        })?;
        let object = file.object.clone();
        // What is stored is counted by one at a time; others may have uploaded meanwhile.
        let _turn = self.reserving.take(owner).await;
        let stored = match self.stored(owner).await {
            Ok(stored) if self.config.quota().is_none_or(|quota| stored.saturating_add(file.size) <= quota) => stored,
            counted => {
                self.loose.discard(&object).await;
                return Err(counted.err().unwrap_or_else(|| self.no_room()));
            }
        };
        let mut write = self.db.write();
        write.put(&STORED, &owner, &stored.saturating_add(file.size));
        self.loose.bind(&mut write, &object);
        let row = self.row(owner, State::Complete(file));
        let waited_for = reserved.is_some();
        let id = match reserved {
            Some((id, before)) => {
                write.require(MEDIA.equals(&id, &Json(before))).delete(&PENDING, &(owner, id.clone()));
                id
            }
            None => {
                let id = self.new_id();
                write.require(MEDIA.absent(&id));
                id
            }
        };
        write.put(&MEDIA, &id, &Json(row));
        self.loose.settle(&object, write.commit().await).await.map_err(|error| match error {
            // Somebody uploaded to it meanwhile.
            CommitError::Conflict => MediaError::CannotOverwrite,
            error => error.into(),
        })?;
        if waited_for {
            self.finished.send_replace(());
        }
        Ok(id)
    }

    fn row(&self, owner: u64, state: State) -> MediaRow {
        MediaRow { owner, created_ms: self.clock.now_ms(), open: self.config.unauthenticated_downloads, state }
    }
}
