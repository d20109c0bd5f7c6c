//! Objects that no row names: those being written and those to be removed. A row of their own says so before they are written, and
//! in the commit that lets go of them, so that none is ever left behind.

use std::sync::Arc;

use store::{CommitError, Db, DbWrite};
use tracing::warn;

use crate::{
    Media,
    blobs::{Blobs, Content},
    error::MediaError,
    tables::{File, LOOSE},
};

/// What content says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) content_type: String,
    pub(crate) filename: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Loose {
    db: Arc<Db>,
    blobs: Blobs,
    /// Tells the rows of this run of the server from those that another left behind.
    run: u64,
}

impl Loose {
    pub(crate) fn new(db: Arc<Db>, blobs: Blobs, run: u64) -> Self {
        Self { db, blobs, run }
    }

    /// Writes content to a new object. It is loose until a commit with [`Loose::bind`] lands.
    pub(crate) async fn take_in(
        &self,
        object: String,
        head: Head,
        content: Content,
        limit: u64,
    ) -> Result<File, MediaError> {
        let mut write = self.db.write();
        write.put(&LOOSE, &object, &self.run);
        write.commit().await?;
        match self.blobs.write(&object, content, limit).await {
            Ok(written) => {
                let Head { content_type, filename } = head;
                Ok(File { object, size: written.size, sha256: written.sha256, content_type, filename })
            }
            Err(error) => {
                self.discard(&object).await;
                Err(error)
            }
        }
    }

    /// Makes an object that of a row in this commit.
    pub(crate) fn bind(&self, write: &mut DbWrite<'_>, object: &String) {
        write.delete(&LOOSE, object);
    }

    /// Lets go of an object in this commit; [`Loose::discard`] removes it once that has landed.
    pub(crate) fn release(&self, write: &mut DbWrite<'_>, object: &String) {
        write.put(&LOOSE, object, &self.run);
    }

    /// Ends a commit that binds an object: where it was dropped, the object goes.
    pub(crate) async fn settle(&self, object: &String, committed: Result<(), CommitError>) -> Result<(), CommitError> {
        if matches!(committed, Err(CommitError::Conflict)) {
            self.discard(object).await;
        }
        committed
    }

    /// Removes a loose object. Where that fails, the next start of the server tries again.
    pub(crate) async fn discard(&self, object: &String) {
        if let Err(error) = self.remove(object).await {
            warn!(object, %error, "an object that is not needed was not removed");
        }
    }

    async fn remove(&self, object: &String) -> Result<(), MediaError> {
        self.blobs.delete(object).await?;
        let mut write = self.db.write();
        write.delete(&LOOSE, object);
        Ok(write.commit().await?)
    }
}

impl Media {
    /// Removes what earlier runs of the server were writing or removing when they ended.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn sweep(&self) -> Result<(), MediaError> {
        // As many as were under way when a run ended.
        for (object, run) in self.db.scan_all(&LOOSE, &()).await? {
            if run != self.loose.run {
                self.loose.discard(&object).await;
            }
        }
        Ok(())
    }
}
