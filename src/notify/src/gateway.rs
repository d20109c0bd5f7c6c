//! The seam to the network, and what a push gateway's answer means.
//! [`POST /_matrix/push/v1/notify`](https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify).

use std::{fmt::Debug, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use serde::Deserialize;
use url::Url;

/// The longest wait that a gateway may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// How much of what a gateway says of an error is kept, in bytes.
const MAX_REASON: usize = 200;

/// A gateway's answer.
#[derive(Debug, Clone)]
pub struct GatewayReply {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header, where it is a number of seconds.
    pub retry_after: Option<Duration>,
    /// The body, within bounds.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct GatewayError(pub String);

/// Carries notifications to push gateways. Their URLs are strangers' input: it reaches nothing that strangers have no business with, follows
/// no redirects, and reads answers within bounds of size and time.
pub trait Gateway: Send + Sync + Debug {
    /// Whether a URL may be a gateway's, as far as that shows without a look-up.
    ///
    /// # Errors
    /// Why not.
    fn allows(&self, url: &Url) -> Result<(), String>;

    /// Posts a notification.
    fn post<'a>(&'a self, url: &'a Url, body: Bytes) -> BoxFuture<'a, Result<GatewayReply, GatewayError>>;
}

/// Reaches nobody.
#[derive(Debug, Clone, Copy)]
pub struct NoGateway;

impl Gateway for NoGateway {
    fn allows(&self, _: &Url) -> Result<(), String> {
        Ok(())
    }

    fn post<'a>(&'a self, _: &'a Url, _: Bytes) -> BoxFuture<'a, Result<GatewayReply, GatewayError>> {
        std::future::ready(Err(GatewayError("no push gateway can be reached".to_owned()))).boxed()
    }
}

/// What became of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The gateway took it.
    Taken,
    /// The gateway does not know the pushkey, or not any more.
    Rejected,
    /// The gateway calls the request wrong; the same again will hardly be taken.
    Refused(String),
    /// It may be taken later, after this time at least.
    Failed(String, Duration),
}

#[derive(Deserialize, Default)]
struct Answer {
    #[serde(default)]
    rejected: Vec<String>,
}

impl Outcome {
    /// Reads what a gateway answered to a notification for `pushkey`.
    pub(crate) fn of(reply: Result<GatewayReply, GatewayError>, pushkey: &str) -> Self {
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => return Self::Failed(error.to_string(), Duration::ZERO),
        };
        match reply.status {
            // A gateway that says it in other words has taken it as well: again would be twice.
            200..=299 => match serde_json::from_slice::<Answer>(&reply.body).unwrap_or_default().rejected {
                rejected if rejected.iter().any(|key| key == pushkey) => Self::Rejected,
                _ => Self::Taken,
            },
            400 | 404 | 405 | 410 | 413 | 422 => Self::Refused(reason(&reply)),
            _ => Self::Failed(reason(&reply), asked(&reply).min(LONGEST_ASKED)),
        }
    }
}

fn reason(reply: &GatewayReply) -> String {
    let text = String::from_utf8_lossy(reply.body.get(..reply.body.len().min(MAX_REASON)).unwrap_or_default());
    format!("status {}: {}", reply.status, text.escape_debug())
}

fn asked(reply: &GatewayReply) -> Duration {
    #[derive(Deserialize)]
    struct Limited {
        retry_after_ms: Option<u64>,
    }
    let body = serde_json::from_slice::<Limited>(&reply.body).ok();
    let in_body = body.and_then(|body| body.retry_after_ms).map(Duration::from_millis);
    reply.retry_after.max(in_body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &'static str) -> Result<GatewayReply, GatewayError> {
        Ok(GatewayReply { status, retry_after: None, body: Bytes::from_static(body.as_bytes()) })
    }

    #[test]
    fn answers_mean_what_the_specification_says() {
        let of = |reply| Outcome::of(reply, "key");
        assert_eq!(of(reply(200, r#"{"rejected":[]}"#)), Outcome::Taken);
        assert_eq!(of(reply(200, r#"{"rejected":["other"]}"#)), Outcome::Taken);
        assert_eq!(of(reply(200, r#"{"rejected":["other","key"]}"#)), Outcome::Rejected);
        assert_eq!(of(reply(200, "<html>")), Outcome::Taken);
        assert_eq!(of(reply(204, "")), Outcome::Taken);
        assert!(matches!(of(reply(400, "no")), Outcome::Refused(why) if why.contains("400") && why.contains("no")));
        for status in [301, 401, 403, 500, 502, 503] {
            assert!(matches!(of(reply(status, "")), Outcome::Failed(_, wait) if wait.is_zero()), "{status}");
        }
        assert!(matches!(of(Err(GatewayError("gone".to_owned()))), Outcome::Failed(..)));
    }

    #[test]
    fn a_gateway_may_ask_for_time_but_not_for_ever() {
        let wait = |reply| match Outcome::of(reply, "key") {
            Outcome::Failed(_, wait) => wait,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(reply(429, r#"{"retry_after_ms": 90000}"#)), Duration::from_secs(90));
        let header = GatewayReply { status: 503, retry_after: Some(Duration::from_secs(7)), body: Bytes::new() };
        assert_eq!(wait(Ok(header)), Duration::from_secs(7));
        assert_eq!(wait(reply(429, r#"{"retry_after_ms": 9000000000}"#)), LONGEST_ASKED);
    }

    #[test]
    fn what_a_gateway_says_of_an_error_is_cut_and_harmless_in_a_log() {
        let long = GatewayReply { status: 500, retry_after: None, body: Bytes::from("\u{1b}[31m".repeat(500)) };
        assert!(reason(&long).len() < 10 * MAX_REASON && !reason(&long).contains('\u{1b}'));
    }
}
