//! What is wrong with a request, as a Matrix error.

use ruma::api::error::{DeserializationError, FromHttpRequestError, HeaderDeserializationError};
use serde::de::IgnoredAny;
use serde_json::error::Category;

use crate::{MatrixError, json::path_at};

/// The error for a request that ruma could not read.
pub(crate) fn request_error(error: &FromHttpRequestError, body: &[u8]) -> MatrixError {
    match error {
        FromHttpRequestError::MethodMismatch { .. } => {
            MatrixError::unrecognized("This endpoint does not take that method")
                .with_status(http::StatusCode::METHOD_NOT_ALLOWED)
        }
        FromHttpRequestError::Deserialization(error) => deserialization_error(error, body),
        _ => MatrixError::unknown(error.to_string()),
    }
}

fn deserialization_error(error: &DeserializationError, body: &[u8]) -> MatrixError {
    match error {
        DeserializationError::Json(error) => json_error(error, body),
        // Path arguments and query fields are both read by serde's plain value deserializers.
        DeserializationError::Query(error) => value_error(&error.to_string()),
        DeserializationError::Header(HeaderDeserializationError::MissingHeader(name)) => {
            MatrixError::missing_param(name)
        }
        DeserializationError::Utf8(_) => MatrixError::not_json("The body is not UTF-8"),
        other => invalid(&other.to_string()),
    }
}

/// The error for a body that is not JSON, or JSON of the wrong shape.
pub(crate) fn json_error(error: &serde_json::Error, body: &[u8]) -> MatrixError {
    let data = error.classify() == Category::Data;
    // serde stops at the first field of a wrong type, which may come before a syntax error.
    if !data || serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return MatrixError::not_json(format!("The body is not valid JSON: {error}"));
    }
    let text = error.to_string();
    let missing = missing_field(&text);
    let parent = path_at(body, error.line(), error.column(), missing.is_some());
    if let Some(name) = missing {
        let field = match parent {
            Some(parent) => format!("{parent}.{name}"),
            None => name.to_owned(),
        };
        return MatrixError::missing_param(&field);
    }
    match parent {
        Some(field) => MatrixError::bad_json(format!("{field}: {text}")).with("field", field),
        None => MatrixError::bad_json(text),
    }
}

fn value_error(text: &str) -> MatrixError {
    match missing_field(text) {
        Some(name) => MatrixError::missing_param(name),
        None => invalid(text),
    }
}

fn invalid(text: &str) -> MatrixError {
    MatrixError::new(http::StatusCode::BAD_REQUEST, "M_INVALID_PARAM", text.to_owned())
}

/// The name in serde's "missing field `name`".
fn missing_field(text: &str) -> Option<&str> {
    text.strip_prefix("missing field `")?.split('`').next()
}
