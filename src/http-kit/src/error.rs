//! The Matrix standard error response.

use std::{borrow::Cow, fmt, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use crate::reply::json_response;

/// An error code: one of the specification's `M_…`, or a namespaced one of our own.
pub type ErrCode = Cow<'static, str>;

/// A Matrix [standard error response]: a status, an `errcode`, a sentence for people, and whatever further fields the
/// code defines.
///
/// [standard error response]: https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
#[derive(Debug, Clone)]
pub struct MatrixError {
    /// The HTTP status of the response.
    pub status: StatusCode,
    /// The machine-readable code.
    pub errcode: ErrCode,
    /// The human-readable sentence: what happened, and what to do next.
    pub error: Cow<'static, str>,
    /// Further top-level fields of the body, besides `errcode` and `error`.
    pub extra: Option<Box<Map<String, Value>>>,
    /// Sent as the `Retry-After` header, rounded up to whole seconds.
    pub retry_after: Option<Duration>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(error: impl Into<Cow<'static, str>>) -> Self {
                Self::new(StatusCode::$status, $code, error)
            }
        )*
    };
}

impl MatrixError {
    /// An error with the given status, code and sentence.
    pub fn new(status: StatusCode, errcode: impl Into<ErrCode>, error: impl Into<Cow<'static, str>>) -> Self {
        Self { status, errcode: errcode.into(), error: error.into(), extra: None, retry_after: None }
    }

    constructors! {
        /// 403 `M_FORBIDDEN`.
        forbidden = FORBIDDEN, "M_FORBIDDEN";
        /// 404 `M_NOT_FOUND`.
        not_found = NOT_FOUND, "M_NOT_FOUND";
        /// 400 `M_BAD_JSON`: JSON of the wrong shape.
        bad_json = BAD_REQUEST, "M_BAD_JSON";
        /// 400 `M_NOT_JSON`.
        not_json = BAD_REQUEST, "M_NOT_JSON";
        /// 400 `M_BAD_STATE`.
        bad_state = BAD_REQUEST, "M_BAD_STATE";
        /// 400 `M_BAD_ALIAS`.
        bad_alias = BAD_REQUEST, "M_BAD_ALIAS";
        /// 413 `M_TOO_LARGE`.
        too_large = PAYLOAD_TOO_LARGE, "M_TOO_LARGE";
        /// 404 `M_UNRECOGNIZED`: an endpoint that this server does not have.
        unrecognized = NOT_FOUND, "M_UNRECOGNIZED";
        /// 400 `M_UNKNOWN`: refused for a reason that has no code of its own.
        unknown = BAD_REQUEST, "M_UNKNOWN";
        /// 401 `M_MISSING_TOKEN`.
        missing_token = UNAUTHORIZED, "M_MISSING_TOKEN";
        /// 401 `M_UNAUTHORIZED`.
        unauthorized = UNAUTHORIZED, "M_UNAUTHORIZED";
        /// 403 `M_GUEST_ACCESS_FORBIDDEN`.
        guest_forbidden = FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN";
        /// 400 `M_USER_IN_USE`.
        user_in_use = BAD_REQUEST, "M_USER_IN_USE";
        /// 400 `M_INVALID_USERNAME`.
        invalid_username = BAD_REQUEST, "M_INVALID_USERNAME";
        /// 400 `M_EXCLUSIVE`.
        exclusive = BAD_REQUEST, "M_EXCLUSIVE";
        /// 400 `M_WEAK_PASSWORD`.
        weak_password = BAD_REQUEST, "M_WEAK_PASSWORD";
        /// 403 `M_USER_DEACTIVATED`.
        user_deactivated = FORBIDDEN, "M_USER_DEACTIVATED";
        /// 403 `M_USER_SUSPENDED`.
        user_suspended = FORBIDDEN, "M_USER_SUSPENDED";
        /// 400 `M_ROOM_IN_USE`: the alias is taken.
        room_in_use = BAD_REQUEST, "M_ROOM_IN_USE";
        /// 400 `M_UNSUPPORTED_ROOM_VERSION`.
        unsupported_room_version = BAD_REQUEST, "M_UNSUPPORTED_ROOM_VERSION";
        /// 409 with a code of the caller's own is [`MatrixError::new`]; this is 409 `M_UNKNOWN`.
        conflict = CONFLICT, "M_UNKNOWN";
    }

    /// 400 `M_INVALID_PARAM` that names the offending field, in the sentence and as `field`.
    pub fn invalid_param(field: &str, why: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", format!("{field}: {why}")).with("field", field)
    }

    /// 400 `M_MISSING_PARAM` that names the missing field, in the sentence and as `field`.
    pub fn missing_param(field: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAM", format!("{field}: this is required")).with("field", field)
    }

    /// 401 `M_UNKNOWN_TOKEN`. With `soft_logout` the client keeps its device and asks the user to log in again.
    pub fn unknown_token(soft_logout: bool) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "This session has ended: log in again")
            .with("soft_logout", soft_logout)
    }

    /// 401 `M_USER_LOCKED`, which is always a soft logout.
    pub fn user_locked() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_USER_LOCKED", "This account is locked: ask the server's operator")
            .with("soft_logout", true)
    }

    /// 429 `M_LIMIT_EXCEEDED` with `retry_after_ms` and a `Retry-After` header.
    pub fn limit_exceeded(retry_after: Duration) -> Self {
        let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        let mut error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "M_LIMIT_EXCEEDED",
            "Too many requests: wait a moment and try again",
        )
        .with("retry_after_ms", millis);
        error.retry_after = Some(retry_after);
        error
    }

    /// 500 `M_UNKNOWN`. The detail goes to the log, never to the client.
    #[track_caller]
    pub fn internal(detail: impl fmt::Display) -> Self {
        let at = std::panic::Location::caller();
        tracing::error!(%detail, file = at.file(), line = at.line(), "a request failed for an internal reason");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "M_UNKNOWN",
            "Something went wrong on this server: try again later",
        )
    }

    /// The same error with one more top-level field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.extra.get_or_insert_default().insert(field.to_owned(), value.into());
        self
    }

    /// The same error with another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The JSON body.
    pub fn to_json(&self) -> Value {
        let mut body = self.extra.as_deref().cloned().unwrap_or_default();
        body.insert("errcode".to_owned(), Value::from(self.errcode.as_ref()));
        body.insert("error".to_owned(), Value::from(self.error.as_ref()));
        Value::Object(body)
    }
}

impl fmt::Display for MatrixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} {}] {}", self.status.as_u16(), self.errcode, self.error)
    }
}

impl std::error::Error for MatrixError {}

impl IntoResponse for MatrixError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, self.to_json().to_string().into());
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Makes a handler's error enum a response, through its `From<…> for MatrixError`.
///
/// Every handler module has its own `RouteError` (a `thiserror` enum), one `impl From<RouteError> for MatrixError` that
/// says which code each case has (storage failures through [`MatrixError::internal`]), and this line.
#[macro_export]
macro_rules! route_error {
    ($error:ty) => {
        impl ::axum::response::IntoResponse for $error {
            fn into_response(self) -> ::axum::response::Response {
                ::axum::response::IntoResponse::into_response($crate::MatrixError::from(self))
            }
        }
    };
}
