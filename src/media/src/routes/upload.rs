//! `POST /_matrix/media/v3/upload`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload)).

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody as _},
    extract::{Query, State, rejection::QueryRejection},
};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, header};
use http_kit::{Authenticated, MatrixError, RateLimits, RawJson, Requester};
use serde::Deserialize;

use crate::{Api, MediaError, blobs::Content, loose::Head, serve};

/// How long an upload may pause between two pieces.
const STALL: Duration = Duration::from_secs(60);
/// How long it may take whole.
const WHOLE: Duration = Duration::from_secs(3600);

/// The query of an upload.
#[derive(Debug, Deserialize)]
pub(super) struct Naming {
    filename: Option<String>,
}

pub(super) async fn handler(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    naming: Result<Query<Naming>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<RawJson, MatrixError> {
    let head = head(naming, &headers)?;
    api.limits.begin_upload(&requester)?;
    let ready = api.ready(requester.user)?;
    let content = counted(content(body, api.config.max_upload())?, &api, &requester);
    let id = api.upload(ready, head, content).await?;
    // A server's name and an id need no escapes.
    Ok(RawJson(Bytes::from(format!("{{\"content_uri\":\"mxc://{}/{id}\"}}", api.server_name))))
}

/// What an upload says of itself.
pub(super) fn head(naming: Result<Query<Naming>, QueryRejection>, headers: &HeaderMap) -> Result<Head, MatrixError> {
    let Query(naming) = naming.map_err(|error| MatrixError::invalid_param("filename", error.body_text()))?;
    let filename = naming.filename.filter(|name| !name.is_empty());
    if filename.as_ref().is_some_and(|name| name.len() > serve::MAX_NAME) {
        return Err(MatrixError::invalid_param("filename", format!("is longer than {} bytes", serve::MAX_NAME)));
    }
    let said = headers.get(header::CONTENT_TYPE).and_then(|said| said.to_str().ok());
    Ok(Head { content_type: serve::content_type(said), filename })
}

/// Content whose bytes count against the user's share, however the upload ends.
pub(super) fn counted(content: Content, api: &Api, requester: &Requester) -> Content {
    let counter = Counter { limits: Arc::clone(&api.limits), requester: requester.clone(), bytes: 0 };
    let pieces = content.scan(counter, |counter, piece| {
        let length = piece.as_ref().map_or(0, Bytes::len);
        counter.bytes = counter.bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        std::future::ready(Some(piece))
    });
    pieces.boxed()
}

/// Counts what came when the upload ends.
struct Counter {
    limits: Arc<RateLimits>,
    requester: Requester,
    bytes: u64,
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.limits.uploaded(&self.requester, self.bytes);
    }
}

/// The content of an upload; one that is announced to be too large is not begun.
pub(super) fn content(body: Body, limit: u64) -> Result<Content, MediaError> {
    if body.size_hint().lower() > limit {
        return Err(MediaError::TooLarge(format!("at most {limit} bytes")));
    }
    let end = tokio::time::Instant::now() + WHOLE;
    let pieces = futures::stream::unfold(Some(body.into_data_stream()), move |body| async move {
        let mut body = body?;
        let until = end.min(tokio::time::Instant::now() + STALL);
        match tokio::time::timeout_at(until, body.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(body))),
            Ok(Some(Err(_))) => Some((Err(MediaError::BrokeOff), None)),
            Err(_) => Some((Err(MediaError::Stalled), None)),
        }
    });
    Ok(pieces.boxed())
}
