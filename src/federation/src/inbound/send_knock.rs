//! `PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid)).

use axum::extract::State;
use ruma::{
    api::federation::membership::{
        RawStrippedState,
        create_knock_event::v1::{Request, Response},
    },
    events::room::member::MembershipState,
};

use super::{
    Signed,
    membership::{Claim, MembershipError},
};
use crate::Api;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<Response, MembershipError> {
    let Signed { body, origin, .. } = request;
    let room = api.room_with_us(&body.room_id, &origin).await?;
    Claim::read(&body.pdu, &room.id, &origin, &MembershipState::Knock)?.of_sender()?;
    let event = api.check_pdu(&body.pdu, &room.rules).await?;
    api.accept_membership(&room, &body.event_id, event).await?;
    let state = api.engine.preview(&room, None).await?;
    Ok(Response::new(state.into_iter().map(RawStrippedState::Pdu).collect()))
}
