//! `GET /_matrix/client/v3/room_keys/version` and `GET /_matrix/client/v3/room_keys/version/{version}`

use axum::extract::State;
use bytes::Bytes;
use http_kit::{RawJson, Ruma};
use ruma::api::client::backup::{get_backup_info, get_latest_backup_info};
use serde_json::json;
use users::encryption::{Backup, BackupState};

use super::version;
use crate::{ApiError, App};

pub(super) async fn latest(
    State(app): State<App>,
    request: Ruma<get_latest_backup_info::v3::Request>,
) -> Result<RawJson, ApiError> {
    Ok(info(app.users.backups.get(request.requester.user, None).await?))
}

pub(super) async fn handler(
    State(app): State<App>,
    request: Ruma<get_backup_info::v3::Request>,
) -> Result<RawJson, ApiError> {
    let version = version(&request.body.version)?;
    Ok(info(app.users.backups.get(request.requester.user, Some(version)).await?))
}

fn info(backup: Backup) -> RawJson {
    let Backup { version, algorithm, auth_data, state: BackupState { etag, count } } = backup;
    let rest = json!({
        "algorithm": algorithm, "count": count, "etag": etag.to_string(), "version": version.to_string(),
    });
    let rest = rest.to_string();
    // As the client sent it: other clients check signatures in it.
    let text = format!("{{\"auth_data\":{},{}", auth_data.get(), rest.trim_start_matches('{'));
    RawJson(Bytes::from(text))
}
