//! Pictures of pages. They have addresses of this server and are kept as files of other servers are: within the same bound, those that
//! nobody looked at for longest removed first; and after a while without use in any case.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use store::{Json, Page};
use tracing::debug;

use super::{Previews, web::WebAnswer};
use crate::{
    Media, MediaError,
    loose::Head,
    remote::RemoteKey,
    tables::{REMOTE, REMOTE_USED},
    thumbnail::render::measure,
};

/// How long a picture that nobody looks at is kept.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);
/// Rows read at a time.
const ROWS: usize = 500;

/// A picture that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) id: String,
    pub(super) size: u64,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) content_type: &'static str,
}

impl Media {
    fn preview_key(&self, id: &str) -> RemoteKey {
        (self.server_name.as_str().to_owned(), id.to_owned())
    }

    /// Whether a picture is still there.
    pub(super) async fn has_picture(&self, id: &str) -> Result<bool, MediaError> {
        Ok(self.db.get(&REMOTE, &self.preview_key(id)).await?.is_some_and(|Json(row)| !row.quarantined))
    }

    /// Keeps a picture, where it is one that browsers know.
    pub(super) async fn take_picture(&self, previews: &Previews, answer: WebAnswer) -> Option<Picture> {
        match self.try_picture(previews, answer).await {
            Ok(picture) => picture,
            Err(error) => {
                debug!(%error, "a picture for a preview was not kept");
                None
            }
        }
    }

    async fn try_picture(&self, previews: &Previews, answer: WebAnswer) -> Result<Option<Picture>, MediaError> {
        let Some(bytes) = whole(answer, previews.max_picture).await else { return Ok(None) };
        // What its server says that it is decides nothing.
        let Some((width, height, content_type)) = measure(&bytes) else { return Ok(None) };
        let id = self.new_id();
        let head = Head { content_type: content_type.to_owned(), filename: None };
        let size = bytes.len() as u64;
        let content = futures::stream::iter([Ok(bytes)]).boxed();
        let file = self.loose.take_in(self.new_object(), head, content, previews.max_picture).await?;
        self.keep_fetched(&self.preview_key(&id), file).await?;
        Ok(Some(Picture { id, size, width, height, content_type }))
    }

    /// Removes pictures of previews that nobody looked at for long. To be called now and then.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn expire_previews(&self) -> Result<(), MediaError> {
        let unused = u64::try_from(UNUSED.as_millis()).unwrap_or(u64::MAX);
        let until = self.clock.now_ms().saturating_sub(unused);
        let mut after = (0, String::new(), String::new());
        loop {
            let rows = self.db.scan(&REMOTE_USED, &after, &until, Page::first(ROWS)).await?;
            let more = rows.len() == ROWS;
            for ((used, server, id), _) in rows {
                // The first place behind this one.
                after = (used, server.clone(), format!("{id}\0"));
                if server == self.server_name.as_str() {
                    self.let_go(&(server, id)).await?;
                }
            }
            if !more {
                return Ok(());
            }
        }
    }
}

/// A body, where it comes whole and is not too large.
async fn whole(mut answer: WebAnswer, limit: u64) -> Option<Bytes> {
    let mut out = BytesMut::new();
    while let Some(piece) = answer.content.next().await {
        out.extend_from_slice(&piece.ok()?);
        if out.len() as u64 > limit {
            return None;
        }
    }
    Some(out.freeze())
}
