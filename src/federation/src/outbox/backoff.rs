//! How long to wait before a destination is tried again.

use std::time::Duration;

use http::StatusCode;

use crate::CallError;

/// After the first failure.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);
/// However many there were.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);
/// So often a destination may call a transaction wrong before it is believed.
const REFUSALS: u32 = 5;

/// What follows from an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The same again, after this time at least.
    Retry(Duration),
    /// This transaction will never be taken.
    GiveUp,
}

/// Decides after the `failures`th failure in a row (from 1).
pub(super) fn next(error: &CallError, failures: u32) -> Next {
    match error {
        CallError::Status { status, .. }
            if matches!(*status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE) && failures >= REFUSALS =>
        {
            Next::GiveUp
        }
        CallError::Status { status, body: Some(body), .. } if *status == StatusCode::TOO_MANY_REQUESTS => {
            let asked = body.get("retry_after_ms").and_then(serde_json::Value::as_u64).unwrap_or_default();
            Next::Retry(Duration::from_millis(asked).min(LONGEST))
        }
        _ => Next::Retry(Duration::ZERO),
    }
}

/// The wait after the `failures`th failure in a row (from 1): doubling, and moved by up to a quarter either way by `jitter` (any
/// number), so that destinations that failed together are not tried together.
pub(super) fn wait(failures: u32, jitter: u32) -> Duration {
    http_kit::retry_wait(failures, jitter, SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: StatusCode, body: serde_json::Value) -> CallError {
        CallError::Status { status, errcode: "M_UNKNOWN".to_owned(), error: String::new(), body: Some(body) }
    }

    #[test]
    fn waits_double_with_jitter_and_end_at_an_hour() {
        assert_eq!(wait(1, 0), Duration::from_millis(750));
        assert_eq!(wait(1, u32::MAX), Duration::from_millis(1250));
        assert!(wait(4, 0) >= Duration::from_secs(6) && wait(4, u32::MAX) <= Duration::from_secs(10));
        assert_eq!(wait(u32::MAX, u32::MAX), LONGEST);
        assert!(wait(40, 0) >= LONGEST.mul_f64(0.75));
    }

    #[test]
    fn what_is_called_wrong_often_enough_is_given_up_and_the_rest_is_not() {
        let bad = status(StatusCode::BAD_REQUEST, serde_json::json!({}));
        assert_eq!(next(&bad, 1), Next::Retry(Duration::ZERO));
        assert_eq!(next(&bad, REFUSALS), Next::GiveUp);
        for code in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::BAD_GATEWAY] {
            assert_eq!(next(&status(code, serde_json::json!({})), 1000), Next::Retry(Duration::ZERO), "{code}");
        }
        let limited = |ms| status(StatusCode::TOO_MANY_REQUESTS, serde_json::json!({"retry_after_ms": ms}));
        assert_eq!(next(&limited(90_000u64), 1), Next::Retry(Duration::from_secs(90)));
        assert_eq!(next(&limited(u64::MAX), 1), Next::Retry(LONGEST));
    }
}
