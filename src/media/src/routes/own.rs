//! This server's files for other servers. Their requests are federation's to read, and the form of the answer is its own as well.
//! [Content repository](https://spec.matrix.org/v1.19/server-server-api/#content-repository).

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use http_kit::MatrixError;

use crate::{Media, find::Effort, serve::Served, thumbnail::variant::Wanted};

impl Media {
    /// A file of this server, as a client is given it.
    ///
    /// # Errors
    /// As a client's download.
    pub async fn own_file(self: &Arc<Self>, id: &str, wait: Duration) -> Result<Response, MatrixError> {
        let effort = Effort { wait, remote: false, stranger: false };
        let (file, content) = self.open(&self.server_name, id, effort).await?;
        let (content_type, filename, size) = (file.content_type, file.filename, file.size);
        Ok(Served { content_type, filename, size, content }.response())
    }

    /// A thumbnail of a file of this server, as a client is given it.
    ///
    /// # Errors
    /// As a client's.
    pub async fn own_thumbnail(
        self: &Arc<Self>,
        id: &str,
        wanted: Wanted,
        wait: Duration,
    ) -> Result<Response, MatrixError> {
        let effort = Effort { wait, remote: false, stranger: false };
        Ok(self.thumbnail(&self.server_name, id, wanted, effort).await?.response())
    }
}
