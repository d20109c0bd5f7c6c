//! `PUT /_matrix/client/v3/room_keys/version/{version}`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::backup::update_backup_version::v3::{Request, Response};
use users::UsersError;

use super::{Described, described, version};
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let Described { algorithm, auth_data, version: named } = described(body.algorithm.json())?;
    let number = version(&body.version)?;
    if named.is_some_and(|named| named != body.version) {
        return Err(UsersError::BackupMismatch("version").into());
    }
    app.users.backups.update(requester.user, number, &algorithm, &auth_data).await?;
    Ok(Response::new())
}
