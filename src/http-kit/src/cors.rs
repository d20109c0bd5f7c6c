//! The headers that let web clients of any origin use the API ([section 4.4 of the Client-Server API]).
//!
//! [section 4.4 of the Client-Server API]: https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients

use axum::{response::Response, routing::MethodRouter};
use http::{HeaderMap, HeaderValue, header};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS");
const HEADERS: HeaderValue = HeaderValue::from_static("X-Requested-With, Content-Type, Authorization");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// Adds the CORS headers; ones that are there already stay.
pub(crate) fn add_headers(headers: &mut HeaderMap) {
    headers.entry(header::ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(ANY);
    headers.entry(header::ACCESS_CONTROL_ALLOW_METHODS).or_insert(METHODS);
    headers.entry(header::ACCESS_CONTROL_ALLOW_HEADERS).or_insert(HEADERS);
}

/// Adds the CORS headers to a route that is not registered through [`RumaRouter`](crate::RumaRouter), which adds them
/// itself.
pub fn with_cors<S: Clone + Send + Sync + 'static>(route: MethodRouter<S>) -> MethodRouter<S> {
    route.layer(axum::middleware::map_response(|mut response: Response| async move {
        add_headers(response.headers_mut());
        response
    }))
}
