//! `GET /_matrix/client/versions`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::discovery::get_supported_versions::{Request, Response};

use crate::{ApiError, App};

/// Releases of the specification that clients may rely on.
const VERSIONS: [&str; 19] = [
    "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13",
    "v1.14", "v1.15", "v1.16", "v1.17", "v1.18", "v1.19",
];
/// What is here beyond those, or under the name of before it was in one of them: for clients that look for that.
const FEATURES: [&str; 18] = [
    // Rooms as ledgers.
    "com.cliquepay",
    // Simplified sliding sync.
    "org.matrix.simplified_msc3575",
    // Profile fields of any name.
    "uk.tcpip.msc4133",
    "uk.tcpip.msc4133.stable",
    // Rooms that one shares with somebody.
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
    // Whose invitations one takes: nobody's, and by who sends them.
    "org.matrix.msc4380",
    "org.matrix.msc4380.stable",
    "org.matrix.msc4155",
    // Redactions as events that are sent.
    "com.beeper.msc4169",
    // Accounts that administrators lock and suspend.
    "uk.timedout.msc4323",
    "uk.timedout.msc4323.stable",
    // Account data that is removed.
    "org.matrix.msc3391",
    // Filters by relation.
    "org.matrix.msc3874",
    // Settings of notifications that end with their device.
    "org.matrix.msc3890",
    // Events that are sent later.
    "org.matrix.msc4140",
    // Subscriptions to threads, and how sliding sync tells of them.
    "org.matrix.msc4306",
    "org.matrix.msc4308",
];

pub(super) async fn handler(State(app): State<App>, _: Ruma<Request>) -> Result<Response, ApiError> {
    let mut response = Response::new(VERSIONS.map(str::to_owned).to_vec());
    response.unstable_features = FEATURES.iter().map(|feature| ((*feature).to_owned(), true)).collect();
    if !app.config.rtc.transports.is_empty() {
        response.unstable_features.insert("org.matrix.msc4143".to_owned(), true);
    }
    Ok(response)
}
