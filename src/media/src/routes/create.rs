//! `POST /_matrix/media/v1/create`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create)).

use axum::extract::State;
use http_kit::Ruma;
use ruma::{
    MilliSecondsSinceUnixEpoch, MxcUri, UInt,
    api::client::media::create_mxc_uri::v1::{Request, Response},
};

use crate::{Api, MediaError};

pub(super) async fn handler(State(api): State<Api>, request: Ruma<Request>) -> Result<Response, MediaError> {
    let reserved = api.reserve(request.requester.user).await?;
    let uri = format!("mxc://{}/{}", api.server_name, reserved.id);
    let mut response = Response::new(<&MxcUri>::from(uri.as_str()).to_owned());
    response.unused_expires_at = Some(MilliSecondsSinceUnixEpoch(UInt::new_saturating(reserved.expires_ms)));
    Ok(response)
}
