//! `GET /_matrix/client/v3/devices`

use std::sync::Arc;

use axum::extract::State;
use http_kit::Ruma;
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::client::device::{
        Device,
        get_devices::v3::{Request, Response},
    },
};

use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<Response, RouteError> {
    let devices = auth.users.devices.list(request.requester.user).await?;
    Ok(Response::new(devices.into_iter().map(wire).collect()))
}

/// A device as its owner sees it.
pub(super) fn wire(device: users::devices::Device) -> Device {
    let mut wire = Device::new(device.device_id);
    wire.display_name = device.display_name;
    wire.last_seen_ip = device.last_seen_ip.map(|ip| ip.to_string());
    wire.last_seen_ts = device.last_seen_ts.and_then(|ts| UInt::try_from(ts).ok()).map(MilliSecondsSinceUnixEpoch);
    wire
}
