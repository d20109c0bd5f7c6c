//! Answers to what no route takes.

use axum::{
    Router,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, header};

use crate::{MatrixError, cors};

/// How long a browser may keep the answer to a preflight. Chromium caps it at two hours.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("7200");

/// Completes the application's router: unknown paths answer 404 `M_UNRECOGNIZED`, wrong methods 405 `M_UNRECOGNIZED`,
/// and `OPTIONS` on any path the CORS preflight. Call it once, last.
pub fn finish<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.fallback(unknown_path).method_not_allowed_fallback(wrong_method)
}

async fn unknown_path(method: Method) -> Response {
    answer(&method, StatusCode::NOT_FOUND, "This server has no such endpoint")
}

async fn wrong_method(method: Method) -> Response {
    answer(&method, StatusCode::METHOD_NOT_ALLOWED, "This endpoint does not take that method")
}

fn answer(method: &Method, status: StatusCode, why: &'static str) -> Response {
    let mut response = if *method == Method::OPTIONS {
        let mut preflight = StatusCode::NO_CONTENT.into_response();
        preflight.headers_mut().insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
        preflight
    } else {
        MatrixError::unrecognized(why).with_status(status).into_response()
    };
    cors::add_headers(response.headers_mut());
    response
}
