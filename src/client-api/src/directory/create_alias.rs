//! `PUT /_matrix/client/v3/directory/room/{roomAlias}`

use axum::extract::State;
use engine::EngineError;
use http_kit::{Group, MatrixError, Ruma};
use ruma::{
    RoomAliasId,
    api::client::alias::create_alias::v3::{Request, Response},
};

use crate::{ApiError, App};

/// An alias, in bytes, at most. [Room aliases](https://spec.matrix.org/v1.19/appendices/#room-aliases).
const MAX_ALIAS: usize = 255;
/// Aliases of one room, at most: each is kept for good.
const MAX_ALIASES: usize = 1000;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    requester.not_suspended()?;
    app.limits.check(Group::Aliases, &requester)?;
    let alias = &body.room_alias;
    check(alias)?;
    if alias.server_name() != app.engine.identity.server_name {
        return Err(MatrixError::invalid_param("roomAlias", "only aliases of this server can be made here").into());
    }
    app.may_have_alias(&requester, alias)?;
    let (room, _) = app.room_joined_by(&body.room_id, &requester).await?;
    if app.engine.aliases_of(room.num).await?.len() >= MAX_ALIASES {
        return Err(MatrixError::forbidden("The room has too many aliases").into());
    }
    match app.engine.set_alias(alias.as_str(), &room, &requester.user_id).await {
        Err(EngineError::AliasTaken) => {
            Err(MatrixError::conflict(format!("The room alias {alias} already exists")).into())
        }
        other => Ok(other.map(|()| Response::new())?),
    }
}

fn check(alias: &RoomAliasId) -> Result<(), ApiError> {
    let localpart = alias.alias();
    if alias.as_str().len() > MAX_ALIAS || localpart.is_empty() || localpart.contains(char::is_control) {
        return Err(MatrixError::invalid_param(
            "roomAlias",
            "empty, longer than 255 bytes, or with control characters",
        )
        .into());
    }
    Ok(())
}
