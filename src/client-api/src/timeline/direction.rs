//! `dir` is required by the specification and left out by some clients all the same.

use axum::extract::Request;
use http::Uri;

/// Adds `dir=f` where a request says nothing of a direction.
pub(super) async fn add(mut request: Request) -> Request {
    let query = request.uri().query().unwrap_or_default();
    if query.split('&').any(|pair| pair == "dir" || pair.starts_with("dir=")) {
        return request;
    }
    let separator = if query.is_empty() { "" } else { "&" };
    let path_and_query = format!("{}?{query}{separator}dir=f", request.uri().path());
    let mut parts = request.uri().clone().into_parts();
    // What was a valid query stays one.
    parts.path_and_query = path_and_query.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}
