//! `PUT /_matrix/client/v3/devices/{deviceId}`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::device::update_device::v3::{Request, Response};

use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<Response, RouteError> {
    let (user, device) = (request.requester.user, &request.body.device_id);
    match request.body.display_name {
        Some(name) => auth.users.devices.rename(user, device, Some(name)).await?,
        // What is not given stays as it is; an unknown device is an error all the same.
        None => drop(auth.users.devices.get(user, device).await?),
    }
    Ok(Response::new())
}
