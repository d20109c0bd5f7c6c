//! `POST /_matrix/federation/v1/get_missing_events/{roomId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid)).

use axum::extract::State;
use http_kit::RawJson;
use ruma::api::federation::event::get_missing_events::v1::Request;

use super::{
    Signed,
    reads::{RouteError, closed},
};
use crate::Api;

/// Events of one answer, at most.
const MAX_EVENTS: usize = 50;
/// Events that a server names, at most, on either side.
const MAX_NAMED: usize = 200;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, RouteError> {
    let Signed { mut body, origin, .. } = request;
    let room = api.room_for(&body.room_id, &origin).await?;
    body.earliest_events.truncate(MAX_NAMED);
    body.latest_events.truncate(MAX_NAMED);
    let limit = usize::try_from(body.limit).unwrap_or(MAX_EVENTS).min(MAX_EVENTS);
    let (earliest, latest) = (&body.earliest_events, &body.latest_events);
    let events = api.engine.missing_events(&room, earliest, latest, limit, body.min_depth.into()).await?;
    let mut out = String::from("{\"events\":[");
    api.write_visible(&mut out, &room, &origin, &events).await?;
    Ok(closed(out))
}
