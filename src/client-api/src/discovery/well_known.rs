//! `GET /.well-known/matrix/client`

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::api::client::discovery::discover_homeserver::{HomeserverInfo, Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, _: Ruma<Request>) -> Result<Response, ApiError> {
    let Some(url) = &app.config.public_base_url else {
        return Err(MatrixError::not_found("This server has no public address set").into());
    };
    let mut response = Response::new(HomeserverInfo::new(url.clone()));
    // Also at its endpoint; clients of before that look here.
    response.rtc_foci.clone_from(&app.config.rtc.transports);
    Ok(response)
}
