//! `GET /_matrix/client/v3/rooms/{roomId}/aliases`

use axum::extract::State;
use engine::{Membership, Visibility};
use http_kit::Ruma;
use ruma::{
    OwnedRoomAliasId,
    api::client::room::aliases::v3::{Request, Response},
};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (room, viewer) = app.room_of(&body.room_id, &requester).await?;
    let is_in = viewer.place.is_some_and(|place| place.membership == Membership::Join);
    if !is_in && !requester.admin && room.info().visibility != Visibility::WorldReadable {
        return Err(ApiError::not_in_room());
    }
    let aliases = app.engine.aliases_of(room.num).await?;
    Ok(Response::new(aliases.into_iter().filter_map(|alias| OwnedRoomAliasId::try_from(alias).ok()).collect()))
}
