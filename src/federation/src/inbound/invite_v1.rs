//! `PUT /_matrix/federation/v1/invite/{roomId}/{eventId}`, whose body is an event of a room of version 1 or 2
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid)). Of its fields none is asked for
//! that such events need not have.

use ruma::{
    OwnedEventId, OwnedRoomId,
    api::{
        IncomingRequest,
        error::DeserializationError,
        federation::{authentication::ServerSignatures, membership::create_invite::v1},
    },
    metadata,
};

metadata! {
    method: PUT,
    rate_limited: false,
    authentication: ServerSignatures,
    path: "/_matrix/federation/v1/invite/{room_id}/{event_id}",
}

/// The request's path; the body is read as it was sent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) room_id: OwnedRoomId,
    pub(super) event_id: OwnedEventId,
}

impl IncomingRequest for Request {
    type EndpointError = <v1::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = v1::Response;

    fn try_from_http_request_inner(_: http::Request<&[u8]>, path_args: &[&str]) -> Result<Self, DeserializationError> {
        let arg = |nth: usize| path_args.get(nth).copied().unwrap_or_default();
        Ok(Self { room_id: OwnedRoomId::try_from(arg(0))?, event_id: OwnedEventId::try_from(arg(1))? })
    }
}
