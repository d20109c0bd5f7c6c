//! Registering handlers for the endpoints that ruma describes.

use std::{future::Future, marker::PhantomData, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRef, FromRequestParts, Request},
    handler::Handler,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use http::Method;
use ruma::api::{IncomingRequest, Metadata as _, path_builder::PathBuilder as _};
use tracing::Instrument as _;

use crate::{Authenticator, ClientAuth, MatrixError, Reply, Ruma, cors};

/// The bounds of one endpoint.
#[derive(Debug, Clone, Copy)]
pub struct EndpointOptions {
    /// The largest body in bytes. Default 1 MiB: an event is at most 64 KiB, key uploads are the largest ordinary ones.
    pub body_limit: usize,
    /// How long the body may take to arrive. Default 60 s.
    pub body_timeout: Duration,
    /// How long the handler may take before it is dropped and 504 is answered. Default 5 minutes, above any long poll.
    pub timeout: Duration,
    /// Whether the body is a file, not JSON. Default no.
    pub raw_body: bool,
    /// Whether web clients of other origins may call it. Default yes; the Server-Server API needs none.
    pub cors: bool,
}

impl Default for EndpointOptions {
    fn default() -> Self {
        Self {
            body_limit: 1 << 20,
            body_timeout: Duration::from_secs(60),
            timeout: Duration::from_secs(300),
            raw_body: false,
            cors: true,
        }
    }
}

impl EndpointOptions {
    /// The defaults for an upload of at most `limit` bytes.
    pub fn upload(limit: usize) -> Self {
        Self { body_limit: limit, raw_body: true, ..Self::default() }
    }

    /// The same options with another body limit, in bytes.
    #[must_use]
    pub fn body_limit(mut self, limit: usize) -> Self {
        self.body_limit = limit;
        self
    }

    /// The same options with another limit on the handler's time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// An async function of up to four extractors and a [`Ruma`] request that returns `Result<R, E>`, where `R` is a
/// [`Reply`] and `E` a response. `M` only tells such functions apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle a ruma endpoint",
    note = "a handler is `async fn(State(app): State<App>, request: Ruma<Request>) -> Result<Response, RouteError>`",
    note = "its error is made a response by `route_error!`, and `Arc<dyn Authenticator>` must be `FromRef` of the state"
)]
pub trait RumaHandler<M, S>: Clone + Send + Sync + Sized + 'static {
    /// The request type, which knows method, paths and authentication.
    type Request: IncomingRequest;

    /// Parses the request, runs the function and serializes what it returns.
    fn handle(self, request: Request, state: S, options: EndpointOptions) -> impl Future<Output = Response> + Send;
}

macro_rules! impl_ruma_handler {
    ($($part:ident),*) => {
        #[allow(non_snake_case, unused_mut, unused_variables)]
        impl<F, Fut, S, Req, Res, Err, $($part,)*> RumaHandler<(Req, Res, Err, $($part,)*), S> for F
        where
            F: FnOnce($($part,)* Ruma<Req>) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<Res, Err>> + Send,
            S: Send + Sync + 'static,
            Arc<dyn Authenticator>: FromRef<S>,
            Req: IncomingRequest + Send + 'static,
            Req::Authentication: ClientAuth,
            Res: Reply<Req>,
            Err: IntoResponse,
            $($part: FromRequestParts<S> + Send,)*
        {
            type Request = Req;

            async fn handle(self, request: Request, state: S, options: EndpointOptions) -> Response {
                let (mut parts, body) = request.into_parts();
                $(
                    let $part = match $part::from_request_parts(&mut parts, &state).await {
                        Ok(value) => value,
                        Err(rejection) => return rejection.into_response(),
                    };
                )*
                let authenticator = <Arc<dyn Authenticator>>::from_ref(&state);
                let request = Request::from_parts(parts, body);
                let request = match Ruma::<Req>::extract(request, &*authenticator, &options).await {
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

impl_ruma_handler!();
impl_ruma_handler!(A);
impl_ruma_handler!(A, B);
impl_ruma_handler!(A, B, C);
impl_ruma_handler!(A, B, C, D);

/// A [`RumaHandler`] as axum sees it.
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

impl<H, M, S> Handler<(M, S), S> for Endpoint<H, M>
where
    H: RumaHandler<M, S>,
    M: 'static,
    S: Send + Sync + 'static,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: S) -> Self::Future {
        let options = self.options;
        // A span costs an allocation and a walk over the subscribers on every poll.
        if tracing::enabled!(tracing::Level::DEBUG) {
            let span = tracing::debug_span!("request", method = %request.method(), path = request.uri().path());
            let answer = bounded(self.handler.handle(request, state, options), options);
            return Box::pin(
                async move {
                    let response = answer.await;
                    tracing::debug!(status = response.status().as_u16(), "answered");
                    response
                }
                .instrument(span),
            );
        }
        Box::pin(bounded(self.handler.handle(request, state, options), options))
    }
}

/// Runs a handler within its time, and adds what its options say to the answer.
pub async fn bounded(answer: impl Future<Output = Response> + Send, options: EndpointOptions) -> Response {
    let mut response = tokio::time::timeout(options.timeout, answer).await.unwrap_or_else(|_| {
        MatrixError::unknown("The request took too long").with_status(http::StatusCode::GATEWAY_TIMEOUT).into_response()
    });
    if options.cors {
        cors::add_headers(response.headers_mut());
    }
    response
}

/// Registers handlers under every path that ruma knows for their request types.
pub trait RumaRouter<S>: Sized {
    /// Adds `handler` under all stable and unstable paths of its request type, with the default options.
    fn ruma<H, M>(self, handler: H) -> Self
    where
        H: RumaHandler<M, S>,
        M: 'static,
    {
        self.ruma_with(EndpointOptions::default(), handler)
    }

    /// Adds `handler` under all paths of its request type.
    fn ruma_with<H, M>(self, options: EndpointOptions, handler: H) -> Self
    where
        H: RumaHandler<M, S>,
        M: 'static;

    /// Adds `handler` under one more path (in axum's `{name}` syntax), for the few endpoints with a path that their
    /// request type does not list.
    fn ruma_at<H, M>(self, path: &str, options: EndpointOptions, handler: H) -> Self
    where
        H: RumaHandler<M, S>,
        M: 'static;
}

impl<S> RumaRouter<S> for Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    fn ruma_with<H, M>(self, options: EndpointOptions, handler: H) -> Self
    where
        H: RumaHandler<M, S>,
        M: 'static,
    {
        H::Request::PATH_BUILDER.all_paths().fold(self, |router, path| router.ruma_at(path, options, handler.clone()))
    }

    fn ruma_at<H, M>(self, path: &str, options: EndpointOptions, handler: H) -> Self
    where
        H: RumaHandler<M, S>,
        M: 'static,
    {
        let endpoint = Endpoint { handler, options, marker: PhantomData };
        self.route(path, on(method_filter(&H::Request::METHOD), endpoint))
    }
}

/// A method as axum's routes take it; ruma's endpoints use only these.
pub fn method_filter(method: &Method) -> MethodFilter {
    match *method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::DELETE => MethodFilter::DELETE,
        Method::PATCH => MethodFilter::PATCH,
        _ => MethodFilter::GET,
    }
}
