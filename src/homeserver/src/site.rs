//! The web app, embedded in the binary.

use axum::{
    Router,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};

/// What the web's build made; empty where it was not built.
#[derive(RustEmbed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct Dist;

/// Scripts, styles and connections from here only; pictures also from blobs (previews).
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// `/` and the files below `/assets` and beside the page.
pub fn router() -> Router {
    Router::new()
        .route("/", get(|| async { page() }))
        .route("/assets/{*path}", get(asset))
        .route("/{file}", get(beside))
}

fn page() -> Response {
    match Dist::get("index.html") {
        Some(file) => answer(&file, "no-cache"),
        None => (StatusCode::NOT_FOUND, "The server runs, but it was built without its web app: see README.md.\n")
            .into_response(),
    }
}

/// Names of assets carry a hash of their content: they may be kept for good.
async fn asset(Path(path): Path<String>) -> Response {
    match Dist::get(&format!("assets/{path}")) {
        Some(file) => answer(&file, "public, max-age=31536000, immutable"),
        None => http_kit::MatrixError::unrecognized("There is no such file").into_response(),
    }
}

async fn beside(Path(name): Path<String>) -> Response {
    match Dist::get(&name) {
        Some(file) => answer(&file, "no-cache"),
        None => http_kit::MatrixError::unrecognized("This server has no such endpoint").into_response(),
    }
}

fn answer(file: &EmbeddedFile, cache: &'static str) -> Response {
    let mut response = Response::new(Body::from(file.data.to_vec()));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_str(file.metadata.mimetype());
    headers.insert(header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
