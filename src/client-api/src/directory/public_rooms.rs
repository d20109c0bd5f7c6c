//! `GET /_matrix/client/v3/publicRooms`

use axum::extract::State;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::{
    api::{
        IncomingRequest, auth_scheme::AccessTokenOptional, client::directory::get_public_rooms::v3 as ruma_endpoint,
        error::DeserializationError,
    },
    directory::{Filter, RoomNetwork},
    metadata,
};

use crate::{ApiError, App};

/// The request as ruma has it, but for the token: whether strangers may read the list is the operator's choice.
pub(super) struct Request(ruma_endpoint::Request);

metadata! {
    method: GET,
    rate_limited: false,
    authentication: AccessTokenOptional,
    history: {
        1.0 => "/_matrix/client/r0/publicRooms",
        1.1 => "/_matrix/client/v3/publicRooms",
    }
}

impl IncomingRequest for Request {
    type EndpointError = <ruma_endpoint::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = ruma_endpoint::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        ruma_endpoint::Request::try_from_http_request_inner(request, path_args).map(Self)
    }
}

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body: Request(body), requester, .. } = request;
    if requester.is_none() && !app.config.public_rooms_without_auth {
        return Err(MatrixError::missing_token("Log in to see the rooms of this server").into());
    }
    // Nobody without an account makes this server ask another.
    if requester.is_none() && body.server.as_ref().is_some_and(|server| *server != app.engine.identity.server_name) {
        return Err(MatrixError::missing_token("Log in to see the rooms of other servers").into());
    }
    let page = (body.since.as_deref(), body.limit);
    app.published_rooms(body.server.as_deref(), &RoomNetwork::Matrix, &Filter::default(), page).await
}
