//! `PUT /_matrix/client/v3/presence/{userId}/status`

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::{
    api::client::presence::set_presence::v3::{Request, Response},
    presence::PresenceState,
};

use crate::{ApiError, App, own::only_own};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    only_own(&requester, &body.user_id)?;
    if !app.config.presence {
        return Err(MatrixError::forbidden("This server keeps no presence").into());
    }
    if !matches!(body.presence, PresenceState::Online | PresenceState::Offline | PresenceState::Unavailable) {
        return Err(MatrixError::invalid_param("presence", "not online, unavailable or offline").into());
    }
    if app.users.presence.set(requester.user, body.presence, body.status_msg.as_deref())? {
        app.wake_sharers(requester.user).await?;
    }
    Ok(Response::new())
}
