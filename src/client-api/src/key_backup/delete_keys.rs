//! `DELETE /_matrix/client/v3/room_keys/keys`, `…/keys/{roomId}` and `…/keys/{roomId}/{sessionId}`

use axum::extract::State;
use http_kit::{RawJson, Ruma};
use ruma::api::client::backup::{delete_backup_keys, delete_backup_keys_for_room, delete_backup_keys_for_session};

use super::{answer, version};
use crate::{ApiError, App};

pub(super) async fn all(
    State(app): State<App>,
    request: Ruma<delete_backup_keys::v3::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let version = version(&body.version)?;
    Ok(answer(app.users.backups.delete_keys(requester.user, version, None, None).await?))
}

pub(super) async fn room(
    State(app): State<App>,
    request: Ruma<delete_backup_keys_for_room::v3::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (version, room) = (version(&body.version)?, Some(body.room_id.as_str()));
    Ok(answer(app.users.backups.delete_keys(requester.user, version, room, None).await?))
}

pub(super) async fn session(
    State(app): State<App>,
    request: Ruma<delete_backup_keys_for_session::v3::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (room, session) = (Some(body.room_id.as_str()), Some(body.session_id.as_str()));
    let version = version(&body.version)?;
    Ok(answer(app.users.backups.delete_keys(requester.user, version, room, session).await?))
}
