//! Reading a request body within its bounds.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::de::IgnoredAny;

use crate::{MAX_JSON_DEPTH, MatrixError, depth_within};

/// `{}`: what an empty JSON body counts as.
pub const EMPTY_OBJECT: Bytes = Bytes::from_static(b"{}");

/// Reads the whole body: at most `limit` bytes, within `timeout`.
///
/// # Errors
/// 413 `M_TOO_LARGE`, 408 where it comes too slowly, 400 where it breaks off.
pub async fn read(body: Body, limit: usize, timeout: Duration) -> Result<Bytes, MatrixError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // The size that the client announced is checked before anything is read.
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large(limit));
    }
    tokio::time::timeout(timeout, collect(body, limit)).await.unwrap_or_else(|_| {
        Err(MatrixError::unknown("The request body did not arrive in time")
            .with_status(http::StatusCode::REQUEST_TIMEOUT))
    })
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, MatrixError> {
    let first = next_chunk(&mut body).await?.unwrap_or_default();
    if first.len() > limit {
        return Err(too_large(limit));
    }
    // Nearly every body is a single chunk, which is used as it came.
    let Some(second) = next_chunk(&mut body).await? else {
        return Ok(first);
    };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if whole.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&chunk);
        next = next_chunk(&mut body).await?;
    }
    Ok(whole.freeze())
}

async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>, MatrixError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| MatrixError::unknown("The request body broke off"))?;
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn too_large(limit: usize) -> MatrixError {
    MatrixError::too_large(format!("The request body is larger than {limit} bytes"))
}

/// Refuses what is not an object (serde would read an array as a struct), what is not UTF-8 (serde does not look at fields
/// that it skips) and what is nested too deeply, and stands in `{}` for an empty body.
pub(crate) fn json(body: Bytes) -> Result<Bytes, MatrixError> {
    json_within(body, MAX_JSON_DEPTH)
}

/// As every JSON body is read, but nested up to `max_depth` levels.
///
/// # Errors
/// 400 `M_NOT_JSON` and `M_BAD_JSON`.
pub fn json_within(body: Bytes, max_depth: usize) -> Result<Bytes, MatrixError> {
    match body.trim_ascii_start().first() {
        None => return Ok(EMPTY_OBJECT),
        Some(b'{') => {}
        Some(_) => return Err(not_an_object(&body)),
    }
    if let Err(error) = std::str::from_utf8(&body) {
        return Err(MatrixError::not_json(format!("The body is not valid UTF-8: {error}")));
    }
    if !depth_within(&body, max_depth) {
        return Err(MatrixError::bad_json(format!("The body is nested deeper than {max_depth} levels")));
    }
    Ok(body)
}

fn not_an_object(body: &[u8]) -> MatrixError {
    match serde_json::from_slice::<IgnoredAny>(body) {
        Ok(_) => MatrixError::bad_json("The body must be a JSON object"),
        Err(error) => MatrixError::not_json(format!("The body is not valid JSON: {error}")),
    }
}
