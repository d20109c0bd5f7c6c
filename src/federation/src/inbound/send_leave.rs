//! `PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid)) and version 1 of it.

use axum::extract::State;
use bytes::Bytes;
use http_kit::RawJson;
use ruma::{
    api::federation::membership::create_leave_event::v2::{Request, Response},
    events::room::member::MembershipState,
};

use super::{
    Signed,
    membership::{Claim, MembershipError},
};
use crate::Api;

/// The path of version 1, which is in the specification no more.
pub(super) const V1: &str = "/_matrix/federation/v1/send_leave/{room_id}/{event_id}";

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<Response, MembershipError> {
    leave(&api, request).await?;
    Ok(Response::new())
}

pub(super) async fn v1(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, MembershipError> {
    leave(&api, request).await?;
    Ok(RawJson(Bytes::from_static(b"[200,{}]")))
}

async fn leave(api: &Api, request: Signed<Request>) -> Result<(), MembershipError> {
    let Signed { body, origin, .. } = request;
    let room = api.room_with_us(&body.room_id, &origin).await?;
    Claim::read(&body.pdu, &room.id, &origin, &MembershipState::Leave)?.of_sender()?;
    let event = api.check_pdu(&body.pdu, &room.rules).await?;
    api.accept_membership(&room, &body.event_id, event).await
}
