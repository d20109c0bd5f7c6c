//! One request to one application service.

use std::{sync::Arc, time::Duration};

use auth::{UpstreamError, UpstreamHttp, appservices::Registration};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::Value;

/// How long a service may take for an answer to a question, each time.
const QUESTION: Duration = Duration::from_secs(5);
/// How often a question is put.
const QUESTIONS: usize = 2;
/// How long a service may take for a transaction: some do their work before they answer.
const TRANSACTION: Duration = Duration::from_secs(60);
/// What is kept of an answer that is no success, in bytes.
const MAX_BODY: usize = 4096;

/// Why a service did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// Its registration has no address.
    #[error("the application service has no url")]
    NoUrl,
    /// There is no connection to it, or it broke off.
    #[error("the application service cannot be reached: {0}")]
    Unreachable(String),
    /// It takes too long.
    #[error("the application service does not answer in time")]
    Timeout,
    /// It answered with an error.
    #[error("the application service answered {status}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The beginning of the body.
        body: String,
    },
}

/// The way to the services.
pub(crate) struct Link {
    http: Arc<dyn UpstreamHttp>,
}

/// What is sent. Paths are those of the specification and those before it, percent-encoded.
struct Message<'a> {
    method: Method,
    path: &'a str,
    query: Option<&'a str>,
    body: Bytes,
    time: Duration,
}

impl Link {
    pub(crate) fn new(http: Arc<dyn UpstreamHttp>) -> Self {
        Self { http }
    }

    /// `PUT /_matrix/app/v1/transactions/{txnId}`
    pub(crate) async fn transaction(&self, to: &Registration, txn_id: &str, body: &str) -> Result<(), CallError> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let message = |path| Message { method: Method::PUT, path, query: None, body: body.clone(), time: TRANSACTION };
        let path = format!("/_matrix/app/v1/transactions/{txn_id}");
        match self.send(to, message(&path), false).await {
            Err(error) if is_unknown_route(&error, true) => {
                let path = format!("/transactions/{txn_id}");
                self.send(to, message(&path), true).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// `POST /_matrix/app/v1/ping`. It is younger than the paths of old.
    pub(crate) async fn ping(&self, to: &Registration, body: Bytes) -> Result<(), CallError> {
        let path = "/_matrix/app/v1/ping";
        self.send(to, Message { method: Method::POST, path, query: None, body, time: QUESTION * 2 }, false)
            .await
            .map(drop)
    }

    /// Asks for something below `/_matrix/app/v1`, at the path `old` where the service is older than that: more than once where no answer
    /// comes.
    pub(crate) async fn ask(
        &self,
        to: &Registration,
        path: &str,
        old: &str,
        query: Option<&str>,
    ) -> Result<Bytes, CallError> {
        let message = |path| Message { method: Method::GET, path, query, body: Bytes::new(), time: QUESTION };
        let mut last = CallError::Timeout;
        for _ in 0..QUESTIONS {
            let answer = match self.send(to, message(path), false).await {
                Err(error) if is_unknown_route(&error, false) => self.send(to, message(old), true).await,
                other => other,
            };
            match answer {
                Err(error @ (CallError::Timeout | CallError::Unreachable(_))) => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    /// Sends one request. With `old` the token is in the query as well, where services of old look for it.
    async fn send(&self, to: &Registration, message: Message<'_>, old: bool) -> Result<Bytes, CallError> {
        let Message { method, path, query, body, time } = message;
        let base = to.url.as_ref().ok_or(CallError::NoUrl)?.as_str().trim_end_matches('/');
        let mut uri = format!("{base}{path}");
        let token = old.then(|| format!("access_token={}", encoded(to.hs_token.reveal())));
        let parts: Vec<&str> = query.into_iter().chain(token.as_deref()).filter(|part| !part.is_empty()).collect();
        if !parts.is_empty() {
            uri.push('?');
            uri.push_str(&parts.join("&"));
        }
        let unreachable = |error: &dyn std::fmt::Display| CallError::Unreachable(error.to_string());
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", to.hs_token.reveal())).map_err(|error| unreachable(&error))?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| unreachable(&error))?;
        let answer = tokio::time::timeout(time, self.http.call(request)).await.map_err(|_| CallError::Timeout)?;
        let response = answer.map_err(|error| match error {
            UpstreamError::Timeout => CallError::Timeout,
            error => unreachable(&error),
        })?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(body.get(..MAX_BODY).unwrap_or(&body)).into_owned();
        Err(CallError::Status { status: head.status, body: text })
    }
}

/// Whether a service does not know a path at all. That it has no such user is another matter: then it says so with a code, where the
/// path itself names what is asked for.
fn is_unknown_route(error: &CallError, any_not_found: bool) -> bool {
    let CallError::Status { status, body } = error else { return false };
    match *status {
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => true,
        StatusCode::NOT_FOUND => {
            let code = serde_json::from_str::<Value>(body)
                .ok()
                .and_then(|body| Some(body.get("errcode")?.as_str()? == "M_UNRECOGNIZED"));
            any_not_found || code.unwrap_or(true)
        }
        _ => false,
    }
}

/// A text as a segment of a path or a value of a query.
pub(crate) fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_does_not_know_a_path_is_told_from_one_that_does_not_know_a_user() {
        let status = |status, body: &str| CallError::Status { status, body: body.to_owned() };
        let missing = |body| status(StatusCode::NOT_FOUND, body);
        assert!(is_unknown_route(&missing("{\"errcode\": \"M_UNRECOGNIZED\"}"), false));
        assert!(is_unknown_route(&missing("<html>"), false) && is_unknown_route(&missing("{}"), false));
        assert!(!is_unknown_route(&missing("{\"errcode\": \"M_NOT_FOUND\"}"), false));
        assert!(is_unknown_route(&missing("{\"errcode\": \"M_NOT_FOUND\"}"), true));
        assert!(is_unknown_route(&status(StatusCode::NOT_IMPLEMENTED, ""), false));
        assert!(!is_unknown_route(&status(StatusCode::BAD_GATEWAY, ""), true));
        assert!(!is_unknown_route(&CallError::Timeout, true));
    }

    #[test]
    fn names_are_segments() {
        assert_eq!(encoded("#a b/c:d"), "%23a%20b%2Fc%3Ad");
    }
}
