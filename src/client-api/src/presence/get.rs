//! `GET /_matrix/client/v3/presence/{userId}/status`

use std::time::Duration;

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::{
    api::client::presence::get_presence::v3::{Request, Response},
    presence::PresenceState,
};
use store::IdKind;

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    if !app.config.presence {
        return Err(MatrixError::not_found("This server keeps no presence").into());
    }
    let user = match app.engine.ids.find(IdKind::User, body.user_id.as_str()).await? {
        Some(user) if user == requester.user => user,
        Some(user) if app.shares_a_room_with(requester.user, user, &body.user_id).await? => user,
        // Whether there is such a user is nobody's business who shares no room with them.
        _ => return Err(MatrixError::forbidden("You share no room with this user").into()),
    };
    // Nothing was heard of them since the server started.
    let Some(presence) = app.users.presence.get(user) else { return Ok(Response::new(PresenceState::Offline)) };
    let mut response = Response::new(presence.state);
    response.status_msg = presence.status_msg;
    response.currently_active = Some(presence.currently_active);
    response.last_active_ago = Some(Duration::from_millis(presence.last_active_ago));
    Ok(response)
}
