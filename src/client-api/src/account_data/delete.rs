//! `DELETE /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}`, and the same of a room.
//! [MSC3391](https://github.com/matrix-org/matrix-spec-proposals/pull/3391).

use axum::extract::{Path, State};
use bytes::Bytes;
use http_kit::{Authenticated, MatrixError, RawJson, Requester};
use ruma::{OwnedRoomId, OwnedUserId};

use super::refuse_managed;
use crate::{ApiError, App, own::only_own};

/// The answer of who did something that there is nothing to say of.
const DONE: RawJson = RawJson(Bytes::from_static(b"{}"));

pub(super) async fn global(
    State(app): State<App>,
    Authenticated(requester): Authenticated,
    Path((user_id, event_type)): Path<(String, String)>,
) -> Result<RawJson, ApiError> {
    check(&requester, &user_id, &event_type)?;
    app.users.account_data.delete(requester.user, None, &event_type).await?;
    Ok(DONE)
}

pub(super) async fn in_room(
    State(app): State<App>,
    Authenticated(requester): Authenticated,
    Path((user_id, room_id, event_type)): Path<(String, String, String)>,
) -> Result<RawJson, ApiError> {
    check(&requester, &user_id, &event_type)?;
    let room_id = OwnedRoomId::try_from(room_id).map_err(|error| MatrixError::invalid_param("roomId", error))?;
    app.has_place(&room_id, &requester).await?;
    app.users.account_data.delete(requester.user, Some(&room_id), &event_type).await?;
    Ok(DONE)
}

fn check(requester: &Requester, user_id: &str, event_type: &str) -> Result<(), ApiError> {
    let user_id = OwnedUserId::try_from(user_id).map_err(|error| MatrixError::invalid_param("userId", error))?;
    only_own(requester, &user_id)?;
    refuse_managed(event_type)
}
