//! Turning what a handler returns into an HTTP response.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use ruma::api::{IncomingRequest, OutgoingResponse, OutgoingResponseExt as _};

use crate::MatrixError;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A response whose body is JSON text already: spliced event rows, a stored idempotent answer.
#[derive(Debug, Clone)]
pub struct RawJson(pub Bytes);

/// Any response, for the few endpoints whose answer is not one fixed shape (a redirect, an HTML page).
#[derive(Debug)]
pub struct RawReply(pub Response);

/// What a handler for `Req` may return: the response type that belongs to it, [`RawJson`] or [`RawReply`].
pub trait Reply<Req> {
    /// The HTTP response.
    fn reply(self) -> Response;
}

impl<Req, Res> Reply<Req> for Res
where
    Req: IncomingRequest<OutgoingResponse = Res>,
    Res: OutgoingResponse,
{
    fn reply(self) -> Response {
        match self.try_into_http_response::<BytesMut>() {
            Ok(response) => response.map(|body| Body::from(body.freeze())),
            Err(error) => {
                MatrixError::internal(format_args!("a response could not be serialized: {error}")).into_response()
            }
        }
    }
}

impl<Req> Reply<Req> for RawJson {
    fn reply(self) -> Response {
        self.into_response()
    }
}

impl<Req> Reply<Req> for RawReply {
    fn reply(self) -> Response {
        self.0
    }
}

impl IntoResponse for RawJson {
    fn into_response(self) -> Response {
        json_response(StatusCode::OK, self.0)
    }
}

pub(crate) fn json_response(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}
