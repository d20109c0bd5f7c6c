//! `PUT /_matrix/client/v3/room_keys/keys`, `…/keys/{roomId}` and `…/keys/{roomId}/{sessionId}`

use axum::extract::State;
use http_kit::{MatrixError, RawJson, Requester, Ruma};
use ruma::api::client::backup::{add_backup_keys, add_backup_keys_for_room, add_backup_keys_for_session};
use users::encryption::SessionKey;

use super::{answer, version};
use crate::{ApiError, App};

/// Keys in one request, at most.
const MAX_KEYS: usize = 20_000;

pub(super) async fn all(
    State(app): State<App>,
    request: Ruma<add_backup_keys::v3::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let keys = body.rooms.into_iter().flat_map(|(room_id, room)| {
        let room_id = room_id.to_string();
        room.sessions.into_iter().map(move |(session_id, data)| SessionKey {
            room_id: room_id.clone(),
            session_id,
            data: data.into_json(),
        })
    });
    app.keep_keys(&requester, &body.version, keys.collect()).await
}

pub(super) async fn room(
    State(app): State<App>,
    request: Ruma<add_backup_keys_for_room::v3::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let room_id = body.room_id.to_string();
    let keys = body.sessions.into_iter().map(|(session_id, data)| SessionKey {
        room_id: room_id.clone(),
        session_id,
        data: data.into_json(),
    });
    app.keep_keys(&requester, &body.version, keys.collect()).await
}

pub(super) async fn session(
    State(app): State<App>,
    request: Ruma<add_backup_keys_for_session::v3::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (room_id, session_id, data) = (body.room_id.to_string(), body.session_id, body.session_data.into_json());
    app.keep_keys(&requester, &body.version, vec![SessionKey { room_id, session_id, data }]).await
}

impl App {
    async fn keep_keys(&self, requester: &Requester, text: &str, keys: Vec<SessionKey>) -> Result<RawJson, ApiError> {
        if keys.len() > MAX_KEYS {
            return Err(MatrixError::too_large(format!("No more than {MAX_KEYS} keys in one request")).into());
        }
        Ok(answer(self.users.backups.put(requester.user, version(text)?, &keys).await?))
    }
}
