//! `GET /_matrix/federation/v1/media/download/{mediaId}` and `…/thumbnail/{mediaId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#content-repository)).

use std::time::Duration;

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, header};
use http_kit::{MatrixError, RawReply};
use rand::Rng as _;
use ruma::{
    UInt,
    api::federation::authenticated_media::{get_content, get_content_thumbnail},
    media::Method,
};

use super::Signed;
use crate::Api;

/// A picture as another server wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Whether it is cut to that shape.
    pub crop: bool,
}

/// This server's files, as clients are given them: with `Content-Type`, `Content-Disposition` and `Content-Length`.
pub trait OwnMedia: Send + Sync {
    /// A file. `wait`: for one that is not uploaded yet.
    fn file<'a>(&'a self, id: &'a str, wait: Duration) -> BoxFuture<'a, Result<Response, MatrixError>>;

    /// A thumbnail of a picture.
    fn thumbnail<'a>(
        &'a self,
        id: &'a str,
        picture: Picture,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Response, MatrixError>>;
}

fn own_media(api: &Api) -> Result<&dyn OwnMedia, MatrixError> {
    let media = api.own_media.get().map(|media| &**media);
    media.ok_or_else(|| MatrixError::unrecognized("This server has no content repository"))
}

pub(super) async fn download(
    State(api): State<Api>,
    request: Signed<get_content::v1::Request>,
) -> Result<RawReply, MatrixError> {
    let get_content::v1::Request { media_id, timeout_ms, .. } = request.body;
    let file = own_media(&api)?.file(&media_id, timeout_ms).await?;
    Ok(parts(&api, file))
}

pub(super) async fn thumbnail(
    State(api): State<Api>,
    request: Signed<get_content_thumbnail::v1::Request>,
) -> Result<RawReply, MatrixError> {
    let get_content_thumbnail::v1::Request { media_id, timeout_ms, method, width, height, .. } = request.body;
    let side = |length: UInt| u32::try_from(u64::from(length)).unwrap_or(u32::MAX);
    let picture = Picture { width: side(width), height: side(height), crop: method == Some(Method::Crop) };
    let file = own_media(&api)?.thumbnail(&media_id, picture, timeout_ms).await?;
    Ok(parts(&api, file))
}

/// A file as the second of two parts. The first says what is known of it: nothing as yet.
fn parts(api: &Api, file: Response) -> RawReply {
    let boundary = {
        let mut rng = api.rng.lock();
        format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())
    };
    let (file, body) = file.into_parts();
    let start = Bytes::from(start(&boundary, &file.headers));
    let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let length = file.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let length = length.map(|length| length + start.len() as u64 + end.len() as u64);
    let whole = |piece| stream::iter([Ok::<_, axum::Error>(piece)]);
    let mut response = Response::new(Body::from_stream(whole(start).chain(body.into_data_stream()).chain(whole(end))));
    let headers = response.headers_mut();
    if let Ok(content_type) = HeaderValue::try_from(format!("multipart/mixed; boundary={boundary}")) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    RawReply(response)
}

fn start(boundary: &str, headers: &HeaderMap) -> Vec<u8> {
    let mut out =
        format!("--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n").into_bytes();
    for name in [header::CONTENT_TYPE, header::CONTENT_DISPOSITION] {
        if let Some(value) = headers.get(&name) {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}
