//! What carries calls with many people. [MSC4143](https://github.com/matrix-org/matrix-spec-proposals/pull/4143): MatrixRTC, under its unstable names.

mod get_transports;

use axum::Router;
use http_kit::RumaRouter;
use ruma::api::client::rtc::RtcTransport;
use serde::Deserialize;

use crate::App;

/// The section `[client_api.rtc]`: servers that carry calls.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RtcConfig {
    /// The transports that clients are told of, the preferred one first: each with its `type`, and what belongs to that. For a LiveKit server that is
    /// `livekit_service_url`.
    pub transports: Vec<RtcTransport>,
}

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(get_transports::handler)
}
