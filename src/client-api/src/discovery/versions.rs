//! `GET /_matrix/client/versions`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::discovery::get_supported_versions::{Request, Response};

use crate::{ApiError, App};

/// Releases of the specification that clients may rely on. Later ones promise endpoints that are not here.
const VERSIONS: [&str; 13] =
    ["v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13"];
/// What is here beyond those: rooms as ledgers, simplified sliding sync, and profile fields of any name (MSC4133, under both names).
const FEATURES: [&str; 4] =
    ["com.cliquepay", "org.matrix.simplified_msc3575", "uk.tcpip.msc4133", "uk.tcpip.msc4133.stable"];

pub(super) async fn handler(State(_): State<App>, _: Ruma<Request>) -> Result<Response, ApiError> {
    let mut response = Response::new(VERSIONS.map(str::to_owned).to_vec());
    response.unstable_features = FEATURES.iter().map(|feature| ((*feature).to_owned(), true)).collect();
    Ok(response)
}
