//! `POST /_matrix/client/v3/pushers/set`

use axum::extract::State;
use http_kit::{Group, MatrixError, Ruma};
use ruma::api::client::push::set_pusher::v3::{PusherAction, Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    app.limits.check(Group::Pushers, &requester)?;
    match body.action {
        PusherAction::Post(new) => {
            let device = requester.device_id.as_deref();
            let device =
                device.ok_or_else(|| MatrixError::forbidden("A pusher belongs to a device, and you have none"))?;
            app.notify.set(requester.user, device, new.pusher, new.append).await?;
        }
        PusherAction::Delete(ids) => app.notify.delete(requester.user, &ids.app_id, &ids.pushkey).await?,
        _ => return Err(MatrixError::invalid_param("kind", "http or null").into()),
    }
    Ok(Response::new())
}
