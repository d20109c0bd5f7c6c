//! `GET /_matrix/federation/v1/event/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid)).

use axum::extract::State;
use http_kit::RawJson;
use ruma::api::federation::event::get_event::v1::Request;

use super::{
    Signed,
    reads::{RouteError, closed},
};
use crate::Api;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, RouteError> {
    let Signed { body, origin, .. } = request;
    let (room, _) = api.engine.find_event_anywhere(body.event_id.as_str()).await?.ok_or(RouteError::UnknownEvent)?;
    let room = api.engine.room_by_num(room).await?;
    if !api.engine.takes_part(&room, &origin).await? {
        return Err(RouteError::NotInRoom);
    }
    let event = api.known_event(&room, &body.event_id).await?;
    let mut out = api.transaction_head();
    api.write_visible(&mut out, &room, &origin, &[event]).await?;
    Ok(closed(out))
}
