//! `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid)).

use axum::extract::State;
use http_kit::{RawReply, Ruma};
use ruma::{UInt, api::client::authenticated_media::get_content_thumbnail::v1::Request, media::Method};

use crate::{Api, MediaError, find::Effort, thumbnail::variant::Wanted};

pub(super) async fn handler(State(api): State<Api>, request: Ruma<Request>) -> Result<RawReply, MediaError> {
    let Request { server_name, media_id, method, width, height, timeout_ms, .. } = request.body;
    let effort = Effort { wait: timeout_ms, remote: true, stranger: false };
    let wanted = wanted(width, height, method.as_ref());
    Ok(RawReply(api.thumbnail(&server_name, &media_id, wanted, effort).await?.response()))
}

/// What a client asks for. Without a method the picture keeps its shape.
pub(super) fn wanted(width: UInt, height: UInt, method: Option<&Method>) -> Wanted {
    let side = |length: UInt| u32::try_from(u64::from(length)).unwrap_or(u32::MAX);
    Wanted { width: side(width), height: side(height), crop: method == Some(&Method::Crop) }
}
