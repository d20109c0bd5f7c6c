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
    let (num, row) = api.known_event(&room, &body.event_id).await?;
    let mut out = api.transaction_head();
    if !row.outlier() {
        api.write_visible(&mut out, &room, &origin, &[(num, row)]).await?;
    } else if row.is_state() {
        // Who takes part is given the room's state whole, and may be putting it together.
        out.push_str(row.json());
    } else {
        // Whether the origin may see it is not known: a copy that says less would be taken for what there is of it.
        return Err(RouteError::UnknownEvent);
    }
    Ok(closed(out))
}
