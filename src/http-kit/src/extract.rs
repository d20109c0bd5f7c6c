//! Extractors: a ruma request, and a JSON body.

use std::{
    borrow::Cow,
    fmt,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use axum::extract::{
    FromRef, FromRequest, FromRequestParts as _, RawPathParams, Request, rejection::RawPathParamsRejection,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Uri, header, request::Parts};
use ruma::api::{IncomingRequest, IncomingRequestExt as _};
use serde::de::DeserializeOwned;

use crate::{
    Authenticator, ClientAuth, ClientIp, EndpointOptions, MatrixError, auth::identify, body, parse, token::query_value,
};

/// A request to an endpoint that ruma describes, parsed and authenticated.
///
/// Refusals: 401 `M_MISSING_TOKEN` and `M_UNKNOWN_TOKEN`, 413 `M_TOO_LARGE`, 400 `M_NOT_JSON`, `M_BAD_JSON` and
/// `M_MISSING_PARAM` (with `field` where it is known), 400 `M_INVALID_PARAM` for path and query values.
pub struct Ruma<T>
where
    T: IncomingRequest,
    T::Authentication: ClientAuth,
{
    /// The parsed request.
    pub body: T,
    /// Who asks: a [`Requester`](crate::Requester), an `Option` of one, or `()`, as the endpoint's authentication says.
    pub requester: <T::Authentication as ClientAuth>::Identity,
    /// The body as it was sent; `{}` for an empty JSON body.
    pub json_body: Bytes,
    /// The path and query of the request.
    pub uri: Uri,
    /// The client's address, if known.
    pub ip: Option<IpAddr>,
    user_agent: Option<HeaderValue>,
}

impl<T> Ruma<T>
where
    T: IncomingRequest,
    T::Authentication: ClientAuth,
{
    /// The `User-Agent` header, if it is ASCII.
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_ref()?.to_str().ok()
    }

    /// The first value of a query field, decoded.
    pub fn query(&self, field: &str) -> Option<Cow<'_, str>> {
        query_value(self.uri.query()?, field)
    }

    /// Authenticates first, so that a stranger's body is not read, then reads and parses.
    pub(crate) async fn extract(
        request: Request,
        authenticator: &dyn Authenticator,
        options: &EndpointOptions,
    ) -> Result<Self, MatrixError> {
        let (mut parts, stream) = request.into_parts();
        let requester = identify::<T::Authentication>(&parts, authenticator).await?;
        // A GET has no body; one that is sent is not read.
        let json_body = if T::METHOD == Method::GET {
            body::EMPTY_OBJECT
        } else {
            let bytes = body::read(stream, options.body_limit, options.body_timeout).await?;
            if options.raw_body { bytes } else { body::json(bytes)? }
        };
        let path_args = path_args(&mut parts).await?;
        let uri = parts.uri.clone();
        let ip = ClientIp::of(&parts.extensions);
        let user_agent = parts.headers.get(header::USER_AGENT).cloned();
        let args: Vec<&str> = path_args.iter().flatten().map(|(_, value)| value).collect();
        let request = http::Request::from_parts(parts, &*json_body);
        let body = parse_request(request, &args, &json_body)?;
        Ok(Self { body, requester, json_body, uri, ip, user_agent })
    }
}

impl<T> fmt::Debug for Ruma<T>
where
    T: IncomingRequest,
    T::Authentication: ClientAuth,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ruma").field("path", &self.uri.path()).finish_non_exhaustive()
    }
}

/// Some of ruma's parsers panic on odd input (a log-in without a `type`): that must cost the stranger who sent it an
/// error, not everybody on the connection theirs.
///
/// # Errors
/// As [`Ruma`] refuses.
pub fn parse_request<T: IncomingRequest>(
    request: http::Request<&[u8]>,
    args: &[&str],
    json_body: &[u8],
) -> Result<T, MatrixError> {
    catch_unwind(AssertUnwindSafe(|| T::try_from_http_request(request, args)))
        .map_err(|_| MatrixError::bad_json("The request has not the shape that this endpoint takes"))?
        .map_err(|error| parse::request_error(&error, json_body))
}

/// The decoded path arguments, in the order in which they stand in the path.
///
/// # Errors
/// 400 `M_INVALID_PARAM` where one is not UTF-8.
pub async fn path_args(parts: &mut Parts) -> Result<Option<RawPathParams>, MatrixError> {
    match RawPathParams::from_request_parts(parts, &()).await {
        Ok(params) => Ok(Some(params)),
        Err(RawPathParamsRejection::MissingPathParams(_)) => Ok(None),
        Err(rejection) => {
            Err(MatrixError::new(http::StatusCode::BAD_REQUEST, "M_INVALID_PARAM", rejection.body_text()))
        }
    }
}

/// With the default [`EndpointOptions`]; [`RumaRouter`](crate::RumaRouter) passes the endpoint's own.
impl<T, S> FromRequest<S> for Ruma<T>
where
    T: IncomingRequest,
    T::Authentication: ClientAuth,
    S: Send + Sync,
    Arc<dyn Authenticator>: FromRef<S>,
{
    type Rejection = MatrixError;

    async fn from_request(request: Request, state: &S) -> Result<Self, MatrixError> {
        let authenticator = <Arc<dyn Authenticator>>::from_ref(state);
        Self::extract(request, &*authenticator, &EndpointOptions::default()).await
    }
}

/// A JSON body for endpoints that are not described by a ruma request type, with the same bounds and refusals.
#[derive(Debug, Clone, Copy)]
pub struct JsonBody<T>(pub T);

impl<T, S> FromRequest<S> for JsonBody<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = MatrixError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, MatrixError> {
        let options = EndpointOptions::default();
        let bytes = body::json(body::read(request.into_body(), options.body_limit, options.body_timeout).await?)?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| parse::json_error(&error, &bytes))
    }
}
