//! `GET /_matrix/federation/v1/backfill/{roomId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid)).

use axum::extract::State;
use http_kit::RawJson;
use ruma::api::federation::backfill::get_backfill::v1::Request;

use super::{
    Signed,
    reads::{RouteError, closed},
};
use crate::Api;

/// Events of one answer, at most.
const MAX_EVENTS: usize = 100;
/// Events to start from, at most: an event has no more predecessors.
const MAX_FROM: usize = 20;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, RouteError> {
    let Signed { mut body, origin, .. } = request;
    let room = api.room_for(&body.room_id, &origin).await?;
    body.v.truncate(MAX_FROM);
    let limit = usize::try_from(body.limit).unwrap_or(MAX_EVENTS).min(MAX_EVENTS);
    let events = api.engine.backfill(&room, &body.v, limit).await?;
    let mut out = api.transaction_head();
    api.write_visible(&mut out, &room, &origin, &events).await?;
    Ok(closed(out))
}
