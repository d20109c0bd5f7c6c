//! `GET /_matrix/federation/v1/state/{roomId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid)).

use axum::extract::State;
use http_kit::RawJson;
use ruma::api::federation::event::get_room_state::v1::Request;

use super::{
    Signed,
    reads::{RouteError, closed},
};
use crate::Api;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, RouteError> {
    let Signed { body, origin, .. } = request;
    let room = api.room_for(&body.room_id, &origin).await?;
    api.known_state(&room, &body.event_id).await?;
    let _place = api.large_answer().await;
    let at = api.engine.state_before_event(&room, &body.event_id).await?;
    // Whole, whatever the history visibility: who takes part needs the state to judge what is sent.
    let mut out = String::from("{\"pdus\":[");
    api.write_events(&mut out, &room, &at.state).await?;
    out.push_str("],\"auth_chain\":[");
    api.write_events(&mut out, &room, &at.auth_chain).await?;
    Ok(closed(out))
}
