//! Registering handlers for the endpoints of the Server-Server API.

use std::{future::Future, marker::PhantomData, pin::Pin};

use axum::{
    Router,
    extract::{FromRequestParts, Request},
    handler::Handler,
    response::{IntoResponse, Response},
    routing::on,
};
use http_kit::{EndpointOptions, MatrixError, Reply, bounded, method_filter};
use ruma::api::{IncomingRequest, Metadata as _, path_builder::PathBuilder as _};

use crate::Api;

/// The bounds of an endpoint that says none of its own: the common ones without the CORS headers, since no browser calls here.
fn default_options() -> EndpointOptions {
    EndpointOptions { cors: false, ..EndpointOptions::default() }
}

/// What a handler takes as its last argument: [`Signed`](crate::inbound::Signed) or [`Open`](crate::inbound::Open).
pub trait FedRequest: Sized + Send {
    /// The type that ruma describes the endpoint with.
    type Request: IncomingRequest;

    /// Reads, authenticates and parses a request.
    fn extract(
        request: Request,
        api: &Api,
        options: &EndpointOptions,
    ) -> impl Future<Output = Result<Self, MatrixError>> + Send;
}

/// An async function of up to three extractors and a [`FedRequest`] that returns `Result<R, E>`, where `R` is a [`Reply`] and
/// `E` a response. `M` only tells such functions apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle a federation endpoint",
    note = "a handler is `async fn(State(api): State<Api>, request: Signed<Request>) -> Result<Response, RouteError>`",
    note = "its error is made a response by `http_kit::route_error!`"
)]
pub trait FedHandler<M>: Clone + Send + Sync + Sized + 'static {
    /// The request type, which knows method and paths.
    type Request: IncomingRequest;

    /// Reads the request, runs the function and serializes what it returns.
    fn handle(self, request: Request, api: Api, options: EndpointOptions) -> impl Future<Output = Response> + Send;
}

macro_rules! impl_fed_handler {
    ($($part:ident),*) => {
        #[allow(non_snake_case, unused_mut, unused_variables)]
        impl<F, Fut, Req, Res, Err, $($part,)*> FedHandler<(Req, Res, Err, $($part,)*)> for F
        where
            F: FnOnce($($part,)* Req) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<Res, Err>> + Send,
            Req: FedRequest + 'static,
            Res: Reply<Req::Request>,
            Err: IntoResponse,
            $($part: FromRequestParts<Api> + Send,)*
        {
            type Request = Req::Request;

            async fn handle(self, request: Request, api: Api, options: EndpointOptions) -> Response {
                let (mut parts, body) = request.into_parts();
                $(
                    let $part = match $part::from_request_parts(&mut parts, &api).await {
                        Ok(value) => value,
                        Err(rejection) => return rejection.into_response(),
                    };
                )*
                let request = match Req::extract(Request::from_parts(parts, body), &api, &options).await {
                    Ok(request) => request,
                    Err(error) => return error.into_response(),
                };
                match self($($part,)* request).await {
                    Ok(response) => response.reply(),
                    Err(error) => error.into_response(),
                }
            }
        }
    };
}

impl_fed_handler!();
impl_fed_handler!(A);
impl_fed_handler!(A, B);
impl_fed_handler!(A, B, C);

/// A [`FedHandler`] as axum sees it.
struct Endpoint<H, M> {
    handler: H,
    options: EndpointOptions,
    marker: PhantomData<fn() -> M>,
}

impl<H: Clone, M> Clone for Endpoint<H, M> {
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone(), options: self.options, marker: PhantomData }
    }
}

impl<H, M> Handler<(M,), Api> for Endpoint<H, M>
where
    H: FedHandler<M>,
    M: 'static,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, api: Api) -> Self::Future {
        Box::pin(bounded(self.handler.handle(request, api, self.options), self.options))
    }
}

/// Registers handlers under every path that ruma knows for their request types.
pub trait FedRouter: Sized {
    /// Adds `handler` under all stable and unstable paths of its request type: a body of up to 1 MiB, five minutes of time.
    fn fed<H, M>(self, handler: H) -> Self
    where
        H: FedHandler<M>,
        M: 'static,
    {
        self.fed_with(default_options(), handler)
    }

    /// Adds `handler` with a body limit of its own, in bytes.
    fn fed_large<H, M>(self, body_limit: usize, handler: H) -> Self
    where
        H: FedHandler<M>,
        M: 'static,
    {
        self.fed_with(default_options().body_limit(body_limit), handler)
    }

    /// Adds `handler` with bounds of its own.
    fn fed_with<H, M>(self, options: EndpointOptions, handler: H) -> Self
    where
        H: FedHandler<M>,
        M: 'static;

    /// Adds `handler` under one more path (in axum's `{name}` syntax), for paths that its request type does not list.
    fn fed_at<H, M>(self, path: &str, options: EndpointOptions, handler: H) -> Self
    where
        H: FedHandler<M>,
        M: 'static;
}

impl FedRouter for Router<Api> {
    fn fed_with<H, M>(self, options: EndpointOptions, handler: H) -> Self
    where
        H: FedHandler<M>,
        M: 'static,
    {
        H::Request::PATH_BUILDER.all_paths().fold(self, |router, path| router.fed_at(path, options, handler.clone()))
    }

    fn fed_at<H, M>(self, path: &str, options: EndpointOptions, handler: H) -> Self
    where
        H: FedHandler<M>,
        M: 'static,
    {
        let options = EndpointOptions { cors: false, ..options };
        let endpoint = Endpoint { handler, options, marker: PhantomData };
        self.route(path, on(method_filter(&H::Request::METHOD), endpoint))
    }
}
