//! `POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/{action}`

use axum::extract::State;
use http_kit::{Group, MatrixError, Ruma};
use ruma::api::client::delayed_events::update_delayed_event::{
    UpdateAction,
    unstable_v2::{Request, Response},
};
use users::{UsersError, delayed::Outcome};

use super::deliver::requester_of;
use crate::{ApiError, App};

/// Without a token: the id is secret, and clients give it to the servers that carry their calls.
pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    app.act_on_delayed(&request.body.delay_id, &request.body.action).await?;
    Ok(Response::new())
}

impl App {
    /// Restarts, cancels or sends a delayed event. What was sent or cancelled before can be sent or cancelled again, so that requests can be repeated.
    ///
    /// # Errors
    /// 404 `M_UNRECOGNIZED` and `M_NOT_FOUND`, 409 `M_UNKNOWN` where something else became of it, 429 `M_LIMIT_EXCEEDED`; and why it cannot be sent, which leaves it
    /// waiting.
    pub(super) async fn act_on_delayed(&self, id: &str, action: &UpdateAction) -> Result<(), ApiError> {
        if !matches!(action, UpdateAction::Restart | UpdateAction::Send | UpdateAction::Cancel) {
            return Err(MatrixError::unrecognized("There is no such action").into());
        }
        let held = self.users.delayed.hold(id).await?;
        self.limits.check(Group::Delayed, &requester_of(&held.event, false))?;
        match (action, held.event.finalised.as_ref().map(|end| end.sent())) {
            (UpdateAction::Restart, None) => Ok(self.users.delayed.restart(held).await?),
            (UpdateAction::Send, None) => self.deliver(&held).await,
            (_, None) => Ok(self.users.delayed.finalise(held, Outcome::Cancelled).await?),
            (UpdateAction::Send, Some(true)) | (UpdateAction::Cancel, Some(false)) => Ok(()),
            // Apps in calls take this as the sign that they were taken out of it, and enter again; the proposal says nothing of it.
            (UpdateAction::Restart, Some(true)) => Err(UsersError::DelayedNotFound.into()),
            (_, Some(true)) => Err(MatrixError::conflict("The event was sent already").into()),
            (_, Some(false)) => Err(MatrixError::conflict("The event was cancelled already").into()),
        }
    }
}
