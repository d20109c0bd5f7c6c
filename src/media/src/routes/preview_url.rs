//! `GET /_matrix/client/v1/media/preview_url`, and the deprecated `GET /_matrix/media/v3/preview_url`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url)). There is one version of a preview, the
//! newest: `ts` makes no difference.

use axum::extract::State;
use bytes::Bytes;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::api::client::{authenticated_media::get_media_preview::v1, media::get_media_preview::v3};

use crate::Api;

pub(super) async fn handler(State(api): State<Api>, request: Ruma<v1::Request>) -> Result<RawJson, MatrixError> {
    let json = api.preview(request.requester.user, &request.body.url).await?;
    Ok(RawJson(Bytes::copy_from_slice(json.as_bytes())))
}

#[allow(deprecated, reason = "it is the deprecated one")]
pub(super) async fn legacy(State(api): State<Api>, request: Ruma<v3::Request>) -> Result<RawJson, MatrixError> {
    let json = api.preview(request.requester.user, &request.body.url).await?;
    Ok(RawJson(Bytes::copy_from_slice(json.as_bytes())))
}
