//! The deprecated paths below `/_matrix/media/v3`. Downloads there ask for no login: they show only what was uploaded or fetched while
//! the operator left them open ([the freeze](https://spec.matrix.org/v1.19/client-server-api/#content-repo-client-behaviour)).
#![allow(deprecated, reason = "they are the deprecated ones")]

use std::time::Duration;

use axum::extract::State;
use http_kit::{RawReply, Ruma};
use ruma::{
    UInt,
    api::client::media::{get_content, get_content_as_filename, get_content_thumbnail, get_media_config},
};

use super::{download::answer, thumbnail::wanted};
use crate::{Api, MediaError, find::Effort};

fn stranger(wait: Duration, remote: bool) -> Effort {
    Effort { wait, remote, stranger: true }
}

pub(super) async fn config(
    State(api): State<Api>,
    _: Ruma<get_media_config::v3::Request>,
) -> Result<get_media_config::v3::Response, MediaError> {
    Ok(get_media_config::v3::Response::new(UInt::new_saturating(api.config.max_upload())))
}

pub(super) async fn download(
    State(api): State<Api>,
    request: Ruma<get_content::v3::Request>,
) -> Result<RawReply, MediaError> {
    let get_content::v3::Request { server_name, media_id, timeout_ms, allow_remote, .. } = request.body;
    answer(&api, &server_name, &media_id, stranger(timeout_ms, allow_remote), None).await
}

pub(super) async fn named(
    State(api): State<Api>,
    request: Ruma<get_content_as_filename::v3::Request>,
) -> Result<RawReply, MediaError> {
    let get_content_as_filename::v3::Request { server_name, media_id, timeout_ms, allow_remote, filename, .. } =
        request.body;
    answer(&api, &server_name, &media_id, stranger(timeout_ms, allow_remote), Some(filename)).await
}

pub(super) async fn thumbnail(
    State(api): State<Api>,
    request: Ruma<get_content_thumbnail::v3::Request>,
) -> Result<RawReply, MediaError> {
    let get_content_thumbnail::v3::Request {
        server_name,
        media_id,
        method,
        width,
        height,
        timeout_ms,
        allow_remote,
        ..
    } = request.body;
    let (wanted, effort) = (wanted(width, height, method.as_ref()), stranger(timeout_ms, allow_remote));
    Ok(RawReply(api.thumbnail(&server_name, &media_id, wanted, effort).await?.response()))
}
