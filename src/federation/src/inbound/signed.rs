//! Requests of other servers, parsed and, where the endpoint asks for it, authenticated.

use std::net::IpAddr;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{Method, Uri, request::Parts};
use http_kit::{ClientIp, EndpointOptions, Group, MatrixError, body, parse_request, path_args};
use ruma::{
    OwnedServerName,
    api::{IncomingRequest, auth_scheme::NoAuthentication, federation::authentication::ServerSignatures},
};

use crate::{Api, Federation, inbound::route::FedRequest, inbound::x_matrix};

/// The deepest nesting of a body. Events may be nested as deeply as any server lets them, and a transaction that was refused for
/// one of them would be sent again for ever.
const MAX_DEPTH: usize = 50_000;

/// A request that another server signed, for endpoints with [`ServerSignatures`].
/// [Request authentication](https://spec.matrix.org/v1.19/server-server-api/#request-authentication).
///
/// Refusals: 401 `M_UNAUTHORIZED` where the signature is missing or wrong, 413 `M_TOO_LARGE`, 400 `M_NOT_JSON`, `M_BAD_JSON`,
/// `M_MISSING_PARAM` and `M_INVALID_PARAM`.
#[derive(Debug)]
pub struct Signed<T> {
    /// The parsed request.
    pub body: T,
    /// The server that signed it.
    pub origin: OwnedServerName,
    /// The body as it was sent; `{}` for none.
    pub json_body: Bytes,
}

/// A request that needs no signature: keys, versions, OpenID tokens.
#[derive(Debug)]
pub struct Open<T> {
    /// The parsed request.
    pub body: T,
    /// The path and query as they came.
    pub uri: Uri,
    /// Where it came from.
    pub address: Option<IpAddr>,
}

/// The head of a request and its body as it was sent.
async fn read<T: IncomingRequest>(request: Request, options: &EndpointOptions) -> Result<(Parts, Bytes), MatrixError> {
    let (parts, stream) = request.into_parts();
    // A GET has no body; one that is sent is not read.
    let bytes = if T::METHOD == Method::GET {
        Bytes::new()
    } else {
        body::read(stream, options.body_limit, options.body_timeout).await?
    };
    Ok((parts, bytes))
}

async fn parse<T: IncomingRequest>(mut parts: Parts, json_body: &Bytes) -> Result<T, MatrixError> {
    let path_args = path_args(&mut parts).await?;
    let args: Vec<&str> = path_args.iter().flatten().map(|(_, value)| value).collect();
    parse_request(http::Request::from_parts(parts, &**json_body), &args, json_body)
}

impl Federation {
    /// Counts, by the address that asks, what makes this server ask a server for its keys that somebody named and nobody vouches for.
    ///
    /// # Errors
    /// 429 `M_LIMIT_EXCEEDED`.
    pub(crate) fn check_stranger(&self, address: Option<IpAddr>) -> Result<(), MatrixError> {
        match (self.limits.get(), address) {
            (Some(limits), Some(address)) => limits.check_address(Group::Strangers, address),
            _ => Ok(()),
        }
    }
}

/// What a request counts as.
fn group_of(path: &str) -> Group {
    if path.starts_with("/_matrix/federation/v1/send/") {
        Group::Transactions
    } else if path == "/_matrix/federation/v1/user/keys/claim" {
        Group::KeyClaims
    } else {
        Group::Requests
    }
}

impl<T> FedRequest for Signed<T>
where
    T: IncomingRequest<Authentication = ServerSignatures> + Send,
{
    type Request = T;

    async fn extract(request: Request, api: &Api, options: &EndpointOptions) -> Result<Self, MatrixError> {
        // What names no server, or not this one, is refused before its body is read.
        let claims = x_matrix::claims(request.headers(), api.server_name())?;
        let (parts, bytes) = read::<T>(request, options).await?;
        let origin = x_matrix::verify(api, &claims, &parts, &bytes).await?;
        // Not before it is known who asks: nobody uses up another's share.
        if let Some(limits) = api.limits.get() {
            limits.check_server(group_of(parts.uri.path()), origin.as_str())?;
        }
        let json_body = body::json_within(bytes, MAX_DEPTH)?;
        let body = parse(parts, &json_body).await?;
        Ok(Self { body, origin, json_body })
    }
}

impl<T> FedRequest for Open<T>
where
    T: IncomingRequest<Authentication = NoAuthentication> + Send,
{
    type Request = T;

    async fn extract(request: Request, _api: &Api, options: &EndpointOptions) -> Result<Self, MatrixError> {
        let (parts, bytes) = read::<T>(request, options).await?;
        let (uri, address) = (parts.uri.clone(), ClientIp::of(&parts.extensions));
        let json_body = body::json_within(bytes, MAX_DEPTH)?;
        Ok(Self { body: parse(parts, &json_body).await?, uri, address })
    }
}

/// With the default bounds; [`FedRouter`](crate::inbound::FedRouter) passes the endpoint's own.
impl<T> FromRequest<Api> for Signed<T>
where
    T: IncomingRequest<Authentication = ServerSignatures> + Send,
{
    type Rejection = MatrixError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, MatrixError> {
        Self::extract(request, api, &EndpointOptions::default()).await
    }
}
