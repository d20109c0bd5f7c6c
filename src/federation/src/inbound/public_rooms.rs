//! `GET /_matrix/federation/v1/publicRooms` and `POST /_matrix/federation/v1/publicRooms`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#published-room-directory)).

use axum::extract::State;
use engine::{EngineError, ListingSince};
use http_kit::{MatrixError, RawJson, route_error};
use ruma::{
    UInt,
    api::federation::directory::{get_public_rooms, get_public_rooms_filtered},
    directory::{Filter, RoomNetwork},
};

use super::Signed;
use crate::Api;

#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("not a token of this list")]
    BadToken,
    #[error("there are no bridges here")]
    NoBridges,
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::BadToken => Self::invalid_param("since", error),
            RouteError::NoBridges => Self::invalid_param("third_party_instance_id", error),
            RouteError::Engine(error) => Self::internal(error),
            RouteError::Json(error) => Self::internal(error),
        }
    }
}

route_error!(RouteError);

pub(super) async fn all(
    State(api): State<Api>,
    request: Signed<get_public_rooms::v1::Request>,
) -> Result<RawJson, RouteError> {
    let body = request.body;
    page(&api, &Filter::default(), body.since.as_deref(), body.limit, &body.room_network).await
}

pub(super) async fn filtered(
    State(api): State<Api>,
    request: Signed<get_public_rooms_filtered::v1::Request>,
) -> Result<RawJson, RouteError> {
    let body = request.body;
    page(&api, &body.filter, body.since.as_deref(), body.limit, &body.room_network).await
}

async fn page(
    api: &Api,
    filter: &Filter,
    since: Option<&str>,
    limit: Option<UInt>,
    network: &RoomNetwork,
) -> Result<RawJson, RouteError> {
    if matches!(network, RoomNetwork::ThirdParty(_)) {
        return Err(RouteError::NoBridges);
    }
    let since = ListingSince::decode(since.unwrap_or_default()).ok_or(RouteError::BadToken)?;
    // 0 asks for as many as there may be.
    let limit = limit.filter(|limit| *limit != UInt::MIN).map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let listing = api.engine.published_rooms(filter, since, limit).await?;
    Ok(RawJson(serde_json::to_vec(&listing)?.into()))
}
