//! Finding a file by its `mxc://` address, whichever server it is of.

use std::{sync::Arc, time::Duration};

use ruma::ServerName;
use store::Json;
use tokio::time::{Instant, timeout_at};

use crate::{
    Media,
    blobs::Content,
    error::MediaError,
    tables::{File, MEDIA, REMOTE, State},
};

/// The longest wait for an upload.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The longest media id, in bytes.
const MAX_ID: usize = 255;

/// How far to go for a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// How long to wait for one whose id is reserved; a minute at most.
    pub(crate) wait: Duration,
    /// Whether other servers are asked.
    pub(crate) remote: bool,
    /// Whether the caller has not logged in: only what is open is found.
    pub(crate) stranger: bool,
}

/// A file that is here.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: File,
    /// Whether it is of this server.
    pub(crate) own: bool,
}

/// Whether an id has the form that the specification allows: no path can be hidden in it.
/// [`mxc://` URIs](https://spec.matrix.org/v1.19/client-server-api/#matrix-content-mxc-uris).
pub(crate) fn is_media_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

impl Media {
    pub(crate) async fn find(
        self: &Arc<Self>,
        server: &ServerName,
        id: &str,
        effort: Effort,
    ) -> Result<Found, MediaError> {
        if !is_media_id(id) {
            return Err(MediaError::NotFound);
        }
        let own = server == self.server_name;
        if own {
            match self.find_own(id, effort).await {
                // It may be the picture of a preview, which is kept with what is from elsewhere.
                Err(MediaError::NotFound) => {}
                found => return Ok(Found { file: found?, own }),
            }
        }
        let key = (server.as_str().to_owned(), id.to_owned());
        let known = self.db.get(&REMOTE, &key).await?;
        let Json(row) = match known {
            Some(row) => row,
            None if own => return Err(MediaError::NotFound),
            // What is fetched now is not open where the deprecated paths are closed.
            None if !effort.remote || (effort.stranger && !self.config.unauthenticated_downloads) => {
                return Err(MediaError::NotFound);
            }
            None => Json(self.fetch(server, key.clone(), effort.wait.min(MAX_WAIT)).await?),
        };
        if row.quarantined || (effort.stranger && !row.open) {
            return Err(MediaError::NotFound);
        }
        self.touch(&key, &row).await?;
        Ok(Found { file: row.file, own: false })
    }

    async fn find_own(&self, id: &str, effort: Effort) -> Result<File, MediaError> {
        let until = Instant::now() + effort.wait.min(MAX_WAIT);
        let mut finished = self.finished.subscribe();
        loop {
            finished.borrow_and_update();
            let Json(row) = self.db.get(&MEDIA, &id.to_owned()).await?.ok_or(MediaError::NotFound)?;
            match row.state {
                State::Complete(_) if effort.stranger && !row.open => return Err(MediaError::NotFound),
                State::Complete(file) => return Ok(file),
                State::Quarantined(_) => return Err(MediaError::NotFound),
                State::Reserved { expires_ms } if expires_ms <= self.clock.now_ms() => {
                    return Err(MediaError::NotFound);
                }
                State::Reserved { .. } => {
                    let waited = timeout_at(until, finished.changed()).await;
                    waited.map_err(|_| MediaError::NotYetUploaded)?.map_err(|_| MediaError::NotYetUploaded)?;
                }
            }
        }
    }

    /// A file and its content.
    pub(crate) async fn open(
        self: &Arc<Self>,
        server: &ServerName,
        id: &str,
        effort: Effort,
    ) -> Result<(File, Content), MediaError> {
        let found = self.find(server, id, effort).await?;
        let content = self.blobs.read(&found.file.object).await?;
        Ok((found.file, content))
    }

    /// Keeps a file from everybody, or gives it free again. One that waits for its upload cannot be.
    ///
    /// # Errors
    /// [`MediaError::NotFound`] and those of the store.
    pub async fn quarantine(&self, server: &ServerName, id: &str, closed: bool) -> Result<(), MediaError> {
        let mut write = self.db.write();
        let own = if server == self.server_name { self.db.get(&MEDIA, &id.to_owned()).await? } else { None };
        if let Some(Json(before)) = own {
            let id = id.to_owned();
            let mut row = before.clone();
            row.state = match row.state {
                State::Complete(file) | State::Quarantined(file) if closed => State::Quarantined(file),
                State::Complete(file) | State::Quarantined(file) => State::Complete(file),
                State::Reserved { .. } => return Err(MediaError::NotFound),
            };
            write.require(MEDIA.equals(&id, &Json(before))).put(&MEDIA, &id, &Json(row));
        } else {
            let key = (server.as_str().to_owned(), id.to_owned());
            let Json(before) = self.db.get(&REMOTE, &key).await?.ok_or(MediaError::NotFound)?;
            let mut row = before.clone();
            row.quarantined = closed;
            write.require(REMOTE.equals(&key, &Json(before))).put(&REMOTE, &key, &Json(row));
        }
        Ok(write.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hide_no_paths() {
        for good in ["a", "AQwafuaFswefuhsfAFAgsw", "with-dash_and_line", &"x".repeat(255)] {
            assert!(is_media_id(good), "{good}");
        }
        for bad in ["", "..", "a/b", "a.b", "a%2Fb", "é", "a b", "mxc://hs/a", &"x".repeat(256)] {
            assert!(!is_media_id(bad), "{bad}");
        }
    }
}
