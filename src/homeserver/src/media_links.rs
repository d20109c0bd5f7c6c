//! Files between servers: the content repository's way to others, and theirs to it.

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use federation::{CallError, CallLimits, Federation, OwnMedia, Picture, TransportError};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_kit::MatrixError;
use media::{
    Media, Wanted,
    preview::web::{Web, WebAnswer, WebError, WebLimits},
    remote::{RemoteFile, RemoteLimits, RemoteMedia, RemoteMediaError},
};
use ruma::ServerName;
use url::Url;

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

/// [`Web`] over federation's rules for addresses.
#[derive(Debug)]
pub struct Links(pub federation::Web);

fn failed(error: TransportError) -> WebError {
    match error {
        TransportError::ForbiddenAddress(_) => WebError::ForbiddenAddress,
        TransportError::TooLarge(_) => WebError::TooLarge,
        other => WebError::Failed(other.to_string()),
    }
}

impl Web for Links {
    fn get<'a>(&'a self, url: &'a Url, limits: WebLimits) -> BoxFuture<'a, Result<WebAnswer, WebError>> {
        const ACCEPT: HeaderValue =
            HeaderValue::from_static("text/html, application/xhtml+xml, image/webp, image/*;q=0.9, */*;q=0.5");
        let max_body = usize::try_from(limits.max_size).unwrap_or(usize::MAX);
        let limits = CallLimits { timeout: limits.time, max_body };
        async move {
            let answer =
                self.0.get(url, HeaderMap::from_iter([(header::ACCEPT, ACCEPT)]), limits).await.map_err(failed)?;
            let text = |name| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
            Ok(WebAnswer {
                status: answer.status,
                content_type: text(header::CONTENT_TYPE),
                location: text(header::LOCATION),
                content: answer.body.map(|piece| piece.map_err(failed)).boxed(),
            })
        }
        .boxed()
    }
}
