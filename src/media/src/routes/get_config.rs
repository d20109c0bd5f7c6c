//! `GET /_matrix/client/v1/media/config`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediaconfig)).

use axum::extract::State;
use http_kit::Ruma;
use ruma::{
    UInt,
    api::client::authenticated_media::get_media_config::v1::{Request, Response},
};

use crate::{Api, MediaError};

pub(super) async fn handler(State(api): State<Api>, _: Ruma<Request>) -> Result<Response, MediaError> {
    Ok(Response::new(UInt::new_saturating(api.config.max_upload())))
}
