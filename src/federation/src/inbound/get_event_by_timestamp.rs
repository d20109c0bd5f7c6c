//! `GET /_matrix/federation/v1/timestamp_to_event/{roomId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid)).

use axum::extract::State;
use engine::Direction;
use futures::FutureExt as _;
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, UInt,
    api::federation::event::get_event_by_timestamp::v1::{Request, Response},
};

use super::{Signed, reads::RouteError};
use crate::Api;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<Response, RouteError> {
    let Signed { body, origin, .. } = request;
    let room = api.room_for(&body.room_id, &origin).await?;
    let direction = match body.dir {
        ruma::api::Direction::Forward => Direction::Forward,
        ruma::api::Direction::Backward => Direction::Backward,
    };
    let may_see = |row| {
        let (engine, room, origin) = (&api.engine, &room, &origin);
        async move { engine.server_can_see(room, origin, &row).await }.boxed()
    };
    let found = api.engine.event_near(&room, body.ts.0.into(), direction, &may_see).await?;
    let (_, row) = found.ok_or(RouteError::UnknownEvent)?;
    let event_id = OwnedEventId::try_from(row.event_id()).map_err(|_| RouteError::UnknownEvent)?;
    Ok(Response::new(event_id, MilliSecondsSinceUnixEpoch(UInt::new_saturating(row.origin_server_ts()))))
}
