//! Files between servers: the content repository's way to others, and theirs to it.

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use federation::{CallError, CallLimits, Federation, OwnMedia, Picture, TransportError};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use http::StatusCode;
use http_kit::MatrixError;
use media::{
    Media, Wanted,
    remote::{RemoteFile, RemoteLimits, RemoteMedia, RemoteMediaError},
};
use ruma::ServerName;

/// [`RemoteMedia`] over [`Federation`].
#[derive(Debug)]
pub struct FromOthers(pub Arc<Federation>);

fn refused(error: CallError) -> RemoteMediaError {
    match error {
        CallError::Transport(error) => broken(error),
        CallError::Status { errcode, .. } if errcode == "M_TOO_LARGE" => RemoteMediaError::TooLarge,
        CallError::Status { errcode, .. } if errcode == "M_NOT_YET_UPLOADED" => RemoteMediaError::NotYetUploaded,
        CallError::Status { status: StatusCode::NOT_FOUND, .. } => RemoteMediaError::NotFound,
        other => RemoteMediaError::Failed(other.to_string()),
    }
}

fn broken(error: TransportError) -> RemoteMediaError {
    match error {
        TransportError::TooLarge(_) => RemoteMediaError::TooLarge,
        other => RemoteMediaError::Failed(other.to_string()),
    }
}

impl RemoteMedia for FromOthers {
    fn fetch<'a>(
        &'a self,
        server: &'a ServerName,
        media_id: &'a str,
        limits: RemoteLimits,
    ) -> BoxFuture<'a, Result<RemoteFile, RemoteMediaError>> {
        let max_body = usize::try_from(limits.max_size).unwrap_or(usize::MAX);
        let call = CallLimits { timeout: limits.time, max_body };
        async move {
            let file = self.0.fetch_media(server, media_id, limits.wait, call).await.map_err(refused)?;
            let content = file.content.map(|piece| piece.map_err(broken)).boxed();
            Ok(RemoteFile { content_type: file.content_type, filename: file.filename, content })
        }
        .boxed()
    }
}

/// [`OwnMedia`] from [`Media`].
pub struct ForOthers(pub Arc<Media>);

impl OwnMedia for ForOthers {
    fn file<'a>(&'a self, id: &'a str, wait: Duration) -> BoxFuture<'a, Result<Response, MatrixError>> {
        self.0.own_file(id, wait).boxed()
    }

    fn thumbnail<'a>(
        &'a self,
        id: &'a str,
        picture: Picture,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Response, MatrixError>> {
        let Picture { width, height, crop } = picture;
        self.0.own_thumbnail(id, Wanted { width, height, crop }, wait).boxed()
    }
}
