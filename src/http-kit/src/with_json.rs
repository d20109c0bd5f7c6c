//! An endpoint's method, paths, authentication and response, with a body type of our own.

use std::marker::PhantomData;

use ruma::api::{
    EndpointError, IncomingRequest, Metadata, OutgoingResponse, auth_scheme::AuthScheme, error::DeserializationError,
    path_builder::PathBuilder,
};
use serde::de::DeserializeOwned;

/// The request of endpoint `E` with its body read as `B`: for the few request types of ruma that refuse what clients in
/// the field send.
#[derive(Debug, Clone)]
pub struct WithJson<E, B> {
    /// The body.
    pub json: B,
    /// The decoded path arguments.
    pub path: Vec<String>,
    endpoint: PhantomData<fn() -> E>,
}

impl<E: Metadata, B> Metadata for WithJson<E, B>
where
    E::Authentication: AuthScheme,
    E::PathBuilder: PathBuilder,
{
    const METHOD: http::Method = E::METHOD;
    const RATE_LIMITED: bool = E::RATE_LIMITED;
    type Authentication = E::Authentication;
    type PathBuilder = E::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = E::PATH_BUILDER;
}

impl<E, B> IncomingRequest for WithJson<E, B>
where
    E: IncomingRequest,
    E::EndpointError: EndpointError,
    E::OutgoingResponse: OutgoingResponse,
    B: DeserializeOwned,
{
    type EndpointError = E::EndpointError;
    type OutgoingResponse = E::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let json = serde_json::from_slice(request.body())?;
        Ok(Self { json, path: path_args.iter().map(|arg| (*arg).to_owned()).collect(), endpoint: PhantomData })
    }
}
