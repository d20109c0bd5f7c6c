//! Requests over pooled connections, and answers read within their bounds.

use std::{error::Error, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::{TokioExecutor, TokioTimer},
};

use tokio::time::Instant;

use crate::{
    net::connect::{ConnectError, Connector},
    transport::TransportError,
};

/// Idle connections kept for one server, and for how long.
const IDLE: (usize, Duration) = (2, Duration::from_secs(50));
/// How long an answer may pause between two pieces.
const STALL: Duration = Duration::from_secs(30);
/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// Room that is set aside for a body on the word of its announced length, in bytes.
const RESERVE: usize = 1 << 20;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("CliquePay/", env!("CARGO_PKG_VERSION")));

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The HTTP client.
pub(super) struct Http {
    client: Client<Connector, Full<Bytes>>,
}

impl Http {
    pub(super) fn new(connector: Connector) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE.1)
            .pool_max_idle_per_host(IDLE.0)
            .http1_max_buf_size(MAX_HEAD)
            .http2_adaptive_window(true)
            .http2_max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .build(connector);
        Self { client }
    }

    pub(super) async fn get(&self, uri: Uri, max_body: usize) -> Result<Answer, TransportError> {
        let request = Request::get(uri).body(Full::default());
        self.send(request.map_err(|error| TransportError::Unreachable(error.to_string()))?, max_body).await
    }

    pub(super) async fn send(&self, request: Request<Full<Bytes>>, max_body: usize) -> Result<Answer, TransportError> {
        let (head, body) = self.begin(request).await?.into_parts();
        let body = read(body, max_body).await?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Sends a request; of the answer there is the head.
    pub(super) async fn begin(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, TransportError> {
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        // The port of HTTPS is left out of a Host header that is made of a URI; where a server's name has it, it belongs there.
        if !request.headers().contains_key(header::HOST)
            && let Some(authority) = request.uri().authority()
            && authority.port_u16() == Some(443)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            request.headers_mut().insert(header::HOST, host);
        }
        self.client.request(request).await.map_err(|error| explain(&error))
    }
}

/// Why there was no answer: the connector's reason where there was no connection.
fn explain(error: &ClientError) -> TransportError {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(connect) = cause.downcast_ref::<ConnectError>() {
            return connect.clone().into();
        }
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    TransportError::Unreachable(text)
}

/// Reads no byte more than is allowed.
async fn read(body: Incoming, max: usize) -> Result<Bytes, TransportError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut whole = BytesMut::with_capacity(announced.min(RESERVE).min(max));
    let mut pieces = pieces(body, max, None)?;
    while let Some(piece) = pieces.next().await {
        whole.extend_from_slice(&piece?);
    }
    Ok(whole.freeze())
}

/// A body piece by piece, no byte more than is allowed and no longer than to `end`.
pub(super) fn pieces(
    body: Incoming,
    max: usize,
    end: Option<Instant>,
) -> Result<BoxStream<'static, Result<Bytes, TransportError>>, TransportError> {
    if usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX) > max {
        return Err(TransportError::TooLarge(max));
    }
    let pieces = futures::stream::unfold(Some((body, max)), move |rest| async move {
        let (mut body, left) = rest?;
        match next(&mut body, end).await {
            None => None,
            Some(Ok(piece)) if piece.len() > left => Some((Err(TransportError::TooLarge(max)), None)),
            Some(Ok(piece)) => {
                let left = left - piece.len();
                Some((Ok(piece), Some((body, left))))
            }
            Some(Err(error)) => Some((Err(error), None)),
        }
    });
    Ok(pieces.boxed())
}

async fn next(body: &mut Incoming, end: Option<Instant>) -> Option<Result<Bytes, TransportError>> {
    loop {
        let stalled = Instant::now() + STALL;
        let until = end.map_or(stalled, |end| end.min(stalled));
        let Ok(frame) = tokio::time::timeout_at(until, body.frame()).await else {
            return Some(Err(TransportError::Timeout));
        };
        match frame?.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => return Some(Ok(data)),
            // Trailers.
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(TransportError::Unreachable(format!("the answer broke off: {error}")))),
        }
    }
}
