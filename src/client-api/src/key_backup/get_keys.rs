//! `GET /_matrix/client/v3/room_keys/keys`, `…/keys/{roomId}` and `…/keys/{roomId}/{sessionId}`

use std::collections::BTreeMap;

use axum::extract::State;
use bytes::Bytes;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::api::client::backup::{get_backup_keys, get_backup_keys_for_room, get_backup_keys_for_session};
use serde::Serialize;
use serde_json::value::RawValue;
use users::{UsersError, encryption::SessionKey};

use super::version;
use crate::{ApiError, App};

#[derive(Default, Serialize)]
struct Sessions {
    sessions: BTreeMap<String, Box<RawValue>>,
}

#[derive(Default, Serialize)]
struct Rooms {
    rooms: BTreeMap<String, Sessions>,
}

pub(super) async fn all(
    State(app): State<App>,
    request: Ruma<get_backup_keys::v3::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let mut out = Rooms::default();
    for key in app.users.backups.keys(requester.user, version(&body.version)?, None, None).await? {
        let SessionKey { room_id, session_id, data } = key;
        out.rooms.entry(room_id).or_default().sessions.insert(session_id, data);
    }
    json(&out)
}

pub(super) async fn room(
    State(app): State<App>,
    request: Ruma<get_backup_keys_for_room::v3::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let room = Some(body.room_id.as_str());
    let keys = app.users.backups.keys(requester.user, version(&body.version)?, room, None).await?;
    json(&Sessions { sessions: keys.into_iter().map(|key| (key.session_id, key.data)).collect() })
}

pub(super) async fn session(
    State(app): State<App>,
    request: Ruma<get_backup_keys_for_session::v3::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (room, session) = (Some(body.room_id.as_str()), Some(body.session_id.as_str()));
    let keys = app.users.backups.keys(requester.user, version(&body.version)?, room, session).await?;
    let key = keys.into_iter().next().ok_or(UsersError::NoBackup("key in the backup"))?;
    json(&key.data)
}

fn json(value: &impl Serialize) -> Result<RawJson, ApiError> {
    Ok(RawJson(Bytes::from(serde_json::to_vec(value).map_err(MatrixError::internal)?)))
}
