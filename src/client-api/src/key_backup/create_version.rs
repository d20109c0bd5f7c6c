//! `POST /_matrix/client/v3/room_keys/version`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::backup::create_backup_version::v3::{Request, Response};

use super::{Described, described};
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Described { algorithm, auth_data, .. } = described(request.body.algorithm.json())?;
    let version = app.users.backups.create(request.requester.user, &algorithm, &auth_data).await?;
    Ok(Response::new(version.to_string()))
}
