//! Signed requests to other servers.
//! [Request authentication](https://spec.matrix.org/v1.19/server-server-api/#request-authentication).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use engine::Engine;
use futures::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderValue, Method, header};
use parking_lot::RwLock;
use ruma::{
    OwnedServerSigningKeyId, ServerName,
    api::{IncomingResponseExt as _, OutgoingRequest, federation::authentication::XMatrix, path_builder::PathBuilder},
    serde::Base64,
    signatures::KeyPair as _,
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use store::Clock;
use url::Url;

use crate::{
    backoff::Backoff,
    error::CallError,
    transport::{Call, CallLimits, Reply, Streamed, Transport, TransportError},
};

/// The longest part of another server's error message that is kept, in bytes.
const MAX_ERROR: usize = 300;

/// The longest refusal of a file that is read, in bytes.
const MAX_REFUSAL: usize = 64 << 10;

/// Told that a server is there. It takes a note and returns.
pub type HeardWatcher = Box<dyn Fn(&ServerName) + Send + Sync>;

/// Makes signed requests to other servers.
pub struct Client {
    engine: Arc<Engine>,
    transport: Arc<dyn Transport>,
    backoff: Backoff,
    heard: RwLock<Vec<HeardWatcher>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(engine: Arc<Engine>, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Self { engine, transport, backoff: Backoff::new(clock), heard: RwLock::default() }
    }

    /// Sends a request of a type that ruma knows, and reads the answer.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn send<R>(
        &self,
        to: &ServerName,
        request: R,
        limits: CallLimits,
    ) -> Result<R::IncomingResponse, CallError>
    where
        R: OutgoingRequest,
        R::Body: ruma::api::OutgoingBody,
        for<'a> R::PathBuilder: PathBuilder<Input<'a> = ()>,
    {
        let bad = |error: String| CallError::BadRequest(error);
        let request = request
            .try_into_http_request_inner(&format!("https://{to}"), ())
            .map_err(|error| bad(error.to_string()))?;
        let (parts, body) = request.into_parts();
        let body: Vec<u8> = ruma::api::OutgoingBody::try_into_buf(body).map_err(|_| bad("its body".to_owned()))?;
        let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let reply = self.call(to, parts.method, target, body.into(), limits).await?;
        let response = http::Response::builder()
            .status(reply.status)
            .header(header::CONTENT_TYPE, "application/json")
            .body(&*reply.body)
            .map_err(|error| CallError::BadReply(error.to_string()))?;
        R::IncomingResponse::try_from_http_response(response).map_err(|error| CallError::BadReply(error.to_string()))
    }

    /// Sends a request to a path (with query) and reads the answer as JSON of the shape `T`. For the few endpoints that ruma does not
    /// know, and where events are wanted as the text they came as.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn json<T: DeserializeOwned>(
        &self,
        to: &ServerName,
        method: Method,
        target: String,
        body: Option<&RawValue>,
        limits: CallLimits,
    ) -> Result<T, CallError> {
        let body = body.map(|body| Bytes::copy_from_slice(body.get().as_bytes())).unwrap_or_default();
        let reply = self.call(to, method, target, body, limits).await?;
        serde_json::from_slice(&reply.body).map_err(|error| CallError::BadReply(error.to_string()))
    }

    /// As [`Client::json`], without regard to whether the server answered before: for who keeps their own account of that.
    ///
    /// # Errors
    /// [`CallError`]
    pub(crate) async fn json_at_once<T: DeserializeOwned>(
        &self,
        to: &ServerName,
        method: Method,
        target: String,
        body: &RawValue,
        limits: CallLimits,
    ) -> Result<T, CallError> {
        let body = Bytes::copy_from_slice(body.get().as_bytes());
        let reply = self.call_at_once(to, method, target, body, limits).await?;
        serde_json::from_slice(&reply.body).map_err(|error| CallError::BadReply(error.to_string()))
    }

    /// A server is there: it sent a request that it had signed. What was put off because it did not answer need not wait longer.
    pub fn heard_from(&self, server: &ServerName) {
        self.backoff.reset(server);
        for watcher in self.heard.read().iter() {
            watcher(server);
        }
    }

    /// Registers what is to be told of every server that is heard from. It is called for each request: it must be quick.
    pub fn on_heard(&self, watcher: HeardWatcher) {
        self.heard.write().push(watcher);
    }

    /// When a server that did not answer is asked again, in milliseconds since the Unix epoch; `None` where it is not being waited
    /// for. Until then calls fail at once, with [`TransportError::Unreachable`].
    pub fn not_before(&self, server: &ServerName) -> Option<u64> {
        self.backoff.not_before(server)
    }

    /// Sends a request without a signature and without regard to whether the server answered before: to get the keys that show who
    /// somebody is who has just asked something.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn unsigned(
        &self,
        to: &ServerName,
        method: Method,
        target: String,
        body: Option<&RawValue>,
        limits: CallLimits,
    ) -> Result<Bytes, CallError> {
        let body = body.map(|body| Bytes::copy_from_slice(body.get().as_bytes())).unwrap_or_default();
        let call = Call { destination: to.to_owned(), method, target, headers: content_type(&body), body, limits };
        let reply = self.transport.call(call).await?;
        if reply.status.is_success() { Ok(reply.body) } else { Err(refusal(&reply)) }
    }

    /// Signs and sends; an answer that is no success is an error.
    async fn call(
        &self,
        to: &ServerName,
        method: Method,
        target: String,
        body: Bytes,
        limits: CallLimits,
    ) -> Result<Reply, CallError> {
        if self.backoff.not_before(to).is_some() {
            return Err(TransportError::Unreachable("it did not answer, and is asked again later".to_owned()).into());
        }
        self.call_at_once(to, method, target, body, limits).await
    }

    async fn call_at_once(
        &self,
        to: &ServerName,
        method: Method,
        target: String,
        body: Bytes,
        limits: CallLimits,
    ) -> Result<Reply, CallError> {
        let headers = self.sign(to, &method, &target, &body)?;
        let call = Call { destination: to.to_owned(), method, target, headers, body, limits };
        let reply = self.transport.call(call).await;
        self.note(to, &reply);
        let reply = reply?;
        if reply.status.is_success() { Ok(reply) } else { Err(refusal(&reply)) }
    }

    /// Asks for a file: the answer to a GET, as it comes. Signed or not; an answer that is no success is an error.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn file(
        &self,
        to: &ServerName,
        target: String,
        signed: bool,
        limits: CallLimits,
    ) -> Result<Streamed, CallError> {
        if self.backoff.not_before(to).is_some() {
            return Err(TransportError::Unreachable("it did not answer, and is asked again later".to_owned()).into());
        }
        let (method, body) = (Method::GET, Bytes::new());
        let headers = if signed { self.sign(to, &method, &target, &body)? } else { HeaderMap::new() };
        let call = Call { destination: to.to_owned(), method, target, headers, body, limits };
        let answer = match self.transport.stream(call).await {
            Ok(answer) => answer,
            Err(error) => {
                self.note(to, &Err(error.clone()));
                return Err(error.into());
            }
        };
        if answer.status.is_success() {
            self.backoff.reset(to);
            return Ok(answer);
        }
        let reply = Reply { status: answer.status, body: start_of(answer.body).await };
        let refused = refusal(&reply);
        // A file that is too large, or not there yet, has the statuses of a server that is not there.
        let speaks = matches!(&refused, CallError::Status { body: Some(_), .. });
        if speaks {
            self.backoff.reset(to)
        } else {
            self.note(to, &Ok(reply))
        }
        Err(refused)
    }

    /// Gets what is at a URL that another server pointed to.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn web(&self, url: &Url, limits: CallLimits) -> Result<Streamed, CallError> {
        Ok(self.transport.get(url, limits).await?)
    }

    /// Learns from how a call went whether the server is there.
    fn note(&self, to: &ServerName, reply: &Result<Reply, TransportError>) {
        let gone = match reply {
            // A proxy answers so for a server that is not there.
            Ok(reply) => matches!(reply.status.as_u16(), 502..=504),
            Err(TransportError::Unreachable(_) | TransportError::Timeout) => true,
            Err(TransportError::ForbiddenAddress(_) | TransportError::TooLarge(_)) => return,
        };
        if gone { self.backoff.failed(to) } else { self.backoff.reset(to) }
    }

    pub(crate) fn sign(
        &self,
        to: &ServerName,
        method: &Method,
        target: &str,
        body: &Bytes,
    ) -> Result<HeaderMap, CallError> {
        let bad = |error: &dyn std::fmt::Display| CallError::BadRequest(error.to_string());
        let request =
            http::Request::builder().method(method).uri(target).body(body.clone()).map_err(|error| bad(&error))?;
        let identity = &self.engine.identity;
        let object = XMatrix::request_object(&request, &identity.server_name, to).map_err(|error| bad(&error))?;
        let text = serde_json::to_vec(&object).map_err(|error| bad(&error))?;
        let signature = identity.key.sign(&text);
        let key = OwnedServerSigningKeyId::try_from(signature.id().as_str()).map_err(|error| bad(&error))?;
        let signature = Base64::new(signature.as_bytes().to_vec());
        let auth = XMatrix::new(identity.server_name.clone(), to.to_owned(), key, signature);
        let mut headers = content_type(body);
        headers.insert(header::AUTHORIZATION, HeaderValue::from(&auth));
        Ok(headers)
    }
}

/// What an error says, as far as it is worth reading.
async fn start_of(mut body: BoxStream<'static, Result<Bytes, TransportError>>) -> Bytes {
    let mut start = BytesMut::new();
    while let Some(Ok(piece)) = body.next().await {
        if start.len() + piece.len() > MAX_REFUSAL {
            break;
        }
        start.extend_from_slice(&piece);
    }
    start.freeze()
}

fn content_type(body: &Bytes) -> HeaderMap {
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    std::iter::once(json).filter(|_| !body.is_empty()).collect()
}

fn refusal(reply: &Reply) -> CallError {
    let body = serde_json::from_slice::<serde_json::Value>(&reply.body).ok().filter(serde_json::Value::is_object);
    let text = |field: &str| {
        let mut text = body.as_ref().and_then(|body| body.get(field)?.as_str()).unwrap_or_default().to_owned();
        text.truncate(text.floor_char_boundary(MAX_ERROR));
        text
    };
    let errcode = Some(text("errcode")).filter(|code| !code.is_empty()).unwrap_or_else(|| "M_UNKNOWN".to_owned());
    CallError::Status { status: reply.status, errcode, error: text("error"), body }
}
