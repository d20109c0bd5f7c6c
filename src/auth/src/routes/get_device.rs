//! `GET /_matrix/client/v3/devices/{deviceId}`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::device::get_device::v3::{Request, Response};

use super::list_devices::wire;
use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<Response, RouteError> {
    let device = auth.users.devices.get(request.requester.user, &request.body.device_id).await?;
    Ok(Response::new(wire(device)))
}
