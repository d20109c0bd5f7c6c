//! `DELETE /_matrix/client/v3/room_keys/version/{version}`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::backup::delete_backup_version::v3::{Request, Response};

use super::version;
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    app.users.backups.delete(request.requester.user, version(&request.body.version)?).await?;
    Ok(Response::new())
}
