//! `POST /_matrix/client/v3/delete_devices`

use std::sync::Arc;

use axum::extract::State;
use http_kit::{Ruma, WithJson};
use ruma::{
    OwnedDeviceId,
    api::client::device::delete_devices::v3::{Request, Response},
};
use serde::Deserialize;

use crate::{error::RouteError, operation::Operation, state::Auth};

#[derive(Deserialize)]
pub(super) struct Body {
    devices: Vec<OwnedDeviceId>,
}

pub(super) async fn handler(
    State(auth): State<Arc<Auth>>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<Response, RouteError> {
    auth.confirm(&request.requester, Operation::DeleteDevices, &request.json_body).await?;
    auth.users.devices.delete(request.requester.user, &request.body.json.devices).await?;
    auth.after_logout(request.requester.user).await?;
    Ok(Response::new())
}
