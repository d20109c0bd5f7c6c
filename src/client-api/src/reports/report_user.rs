//! `POST /_matrix/client/v3/users/{userId}/report`

use axum::extract::State;
use http_kit::{Group, MatrixError, Ruma};
use ruma::api::client::reporting::report_user::v3::{Request, Response};
use store::IdKind;
use users::reports::Reported;

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    app.limits.check(Group::Reports, &requester)?;
    let Request { user_id, reason, .. } = body;
    let known = if app.engine.is_local(&user_id) {
        app.users.accounts.find(user_id.localpart()).await?.is_some()
    } else {
        app.engine.ids.find(IdKind::User, user_id.as_str()).await?.is_some()
    };
    if !known {
        return Err(MatrixError::not_found("There is no such user").into());
    }
    app.report(&requester, Reported::User { user_id }, &reason).await?;
    Ok(Response::new())
}
