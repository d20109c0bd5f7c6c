//! What an app is told when it does not get what it asked for (RFC 6749, section 5.2).

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use http_kit::MatrixError;
use serde_json::{Value, json};
use users::UsersError;

use crate::error::RouteError;

/// An error of OAuth 2.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OauthError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) why: String,
}

impl OauthError {
    pub(crate) fn new(code: &'static str, why: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, why: why.into() }
    }

    pub(crate) fn invalid_request(why: impl Into<String>) -> Self {
        Self::new("invalid_request", why)
    }

    pub(crate) fn invalid_grant(why: impl Into<String>) -> Self {
        Self::new("invalid_grant", why)
    }

    /// The detail goes to the log, never to the client.
    #[track_caller]
    pub(crate) fn internal(detail: impl std::fmt::Display) -> Self {
        drop(MatrixError::internal(detail));
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "server_error",
            why: "Something went wrong on this server".to_owned(),
        }
    }
}

impl From<UsersError> for OauthError {
    fn from(error: UsersError) -> Self {
        Self::internal(error)
    }
}

impl From<MatrixError> for OauthError {
    fn from(error: MatrixError) -> Self {
        match error.status {
            StatusCode::TOO_MANY_REQUESTS => {
                Self { status: error.status, code: "temporarily_unavailable", why: "Too many requests".to_owned() }
            }
            status if status.is_client_error() => {
                Self { status, ..Self::invalid_request("The request cannot be read") }
            }
            _ => Self::internal(error),
        }
    }
}

impl From<RouteError> for OauthError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Matrix(error) => error.into(),
            RouteError::Users(error) => error.into(),
            error => Self::internal(error),
        }
    }
}

impl IntoResponse for OauthError {
    fn into_response(self) -> Response {
        json_answer(self.status, &json!({ "error": self.code, "error_description": self.why }))
    }
}

/// JSON that nobody keeps: it may hold tokens.
pub(crate) fn json_answer(status: StatusCode, body: &Value) -> Response {
    let mut response = (status, Body::from(body.to_string())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
