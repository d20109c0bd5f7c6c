//! `PUT /_matrix/client/v3/devices/{deviceId}`

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response as HttpResponse},
};
use http::StatusCode;
use http_kit::{RawJson, RawReply, Ruma};
use ruma::api::client::device::update_device::v3::Request;

use crate::{error::RouteError, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, request: Ruma<Request>) -> Result<RawReply, RouteError> {
    let (user, device) = (request.requester.user, &request.body.device_id);
    let name = request.body.display_name;
    if request.requester.appservice.is_some() {
        // Its users' devices do not come from log-ins: it makes them here.
        let created = auth.users.devices.create_without_tokens(user, device, name).await?;
        return Ok(answer(if created { StatusCode::CREATED } else { StatusCode::OK }));
    }
    match name {
        Some(name) => auth.users.devices.rename(user, device, Some(name)).await?,
        // What is not given stays as it is; an unknown device is an error all the same.
        None => drop(auth.users.devices.get(user, device).await?),
    }
    Ok(answer(StatusCode::OK))
}

fn answer(status: StatusCode) -> RawReply {
    let mut response: HttpResponse = RawJson("{}".into()).into_response();
    *response.status_mut() = status;
    RawReply(response)
}
