//! `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid)).

use axum::extract::State;
use http_kit::RawJson;
use ruma::api::federation::authorization::get_event_authorization::v1::Request;

use super::{
    Signed,
    reads::{RouteError, closed},
};
use crate::Api;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, RouteError> {
    let Signed { body, origin, .. } = request;
    let room = api.room_for(&body.room_id, &origin).await?;
    let (num, _) = api.known_event(&room, &body.event_id).await?;
    let _place = api.large_answer().await;
    let chain = api.engine.auth_chain(&room, &[num]).await?;
    let mut out = String::from("{\"auth_chain\":[");
    api.write_events(&mut out, &room, &chain).await?;
    Ok(closed(out))
}
