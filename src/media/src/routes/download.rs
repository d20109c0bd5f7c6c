//! `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}` and `…/{fileName}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid)).

use axum::extract::State;
use http_kit::{RawReply, Ruma};
use ruma::{
    ServerName,
    api::client::authenticated_media::{get_content, get_content_as_filename},
};

use crate::{Api, MediaError, find::Effort, serve::Served};

pub(super) async fn handler(
    State(api): State<Api>,
    request: Ruma<get_content::v1::Request>,
) -> Result<RawReply, MediaError> {
    let get_content::v1::Request { server_name, media_id, timeout_ms, .. } = request.body;
    let effort = Effort { wait: timeout_ms, remote: true, stranger: false };
    answer(&api, &server_name, &media_id, effort, None).await
}

pub(super) async fn named(
    State(api): State<Api>,
    request: Ruma<get_content_as_filename::v1::Request>,
) -> Result<RawReply, MediaError> {
    let get_content_as_filename::v1::Request { server_name, media_id, timeout_ms, filename, .. } = request.body;
    let effort = Effort { wait: timeout_ms, remote: true, stranger: false };
    answer(&api, &server_name, &media_id, effort, Some(filename)).await
}

/// A file, under the name asked for or its own.
pub(super) async fn answer(
    api: &Api,
    server: &ServerName,
    id: &str,
    effort: Effort,
    filename: Option<String>,
) -> Result<RawReply, MediaError> {
    let (file, content) = api.open(server, id, effort).await?;
    let filename = filename.or(file.filename);
    Ok(RawReply(Served { content_type: file.content_type, filename, size: file.size, content }.response()))
}
