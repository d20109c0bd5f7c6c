//! `GET /_matrix/federation/v1/make_knock/{roomId}/{userId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid)).

use axum::extract::State;
use ruma::api::federation::membership::prepare_knock_event::v1::{Request, Response};

use super::{
    Signed,
    membership::{MembershipError, is_theirs, supports},
};
use crate::Api;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<Response, MembershipError> {
    let Signed { body, origin, .. } = request;
    is_theirs(&body.user_id, &origin)?;
    let room = api.room_with_us(&body.room_id, &origin).await?;
    supports(&body.ver, &room)?;
    let event = api.membership_template(&room, &body.user_id, r#"{"membership":"knock"}"#).await?;
    Ok(Response::new(room.version.clone(), event))
}
