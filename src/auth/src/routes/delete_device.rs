//! `DELETE /_matrix/client/v3/devices/{deviceId}`

use std::sync::Arc;

use axum::extract::State;
use http_kit::{Ruma, WithJson};
use ruma::{
    OwnedDeviceId,
    api::client::device::delete_device::v3::{Request, Response},
};
use serde::de::IgnoredAny;

use crate::{error::RouteError, operation::Operation, state::Auth};

/// The body has only `auth`, which is read where it is checked.
pub(super) async fn handler(
    State(auth): State<Arc<Auth>>,
    request: Ruma<WithJson<Request, IgnoredAny>>,
) -> Result<Response, RouteError> {
    let device = OwnedDeviceId::from(request.body.path.into_iter().next().unwrap_or_default());
    auth.confirm(&request.requester, Operation::DeleteDevice(device.clone()), &request.json_body).await?;
    auth.users.devices.delete(request.requester.user, &[device]).await?;
    auth.after_logout(request.requester.user).await?;
    Ok(Response::new())
}
