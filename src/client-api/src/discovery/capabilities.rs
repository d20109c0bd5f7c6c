//! `GET /_matrix/client/v3/capabilities`

use axum::extract::State;
use bytes::Bytes;
use http_kit::{RawJson, Ruma};
use ruma::{RoomVersionId, api::client::discovery::get_capabilities::v3::Request};
use serde_json::{Map, Value, json};

use crate::{ApiError, App, rooms::rules_of};

/// The versions of the specification; those that rooms can be made in are shown.
const VERSIONS: [RoomVersionId; 12] = [
    RoomVersionId::V1,
    RoomVersionId::V2,
    RoomVersionId::V3,
    RoomVersionId::V4,
    RoomVersionId::V5,
    RoomVersionId::V6,
    RoomVersionId::V7,
    RoomVersionId::V8,
    RoomVersionId::V9,
    RoomVersionId::V10,
    RoomVersionId::V11,
    RoomVersionId::V12,
];

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let available: Map<String, Value> = VERSIONS
        .iter()
        .filter(|version| rules_of(version).is_ok())
        .map(|version| (version.to_string(), "stable".into()))
        .collect();
    let mut capabilities = json!({
        "m.change_password": {"enabled": app.config.password_changes},
        "m.room_versions": {"default": app.config.default_room_version, "available": available},
        "m.profile_fields": {"enabled": true},
        "m.set_displayname": {"enabled": true},
        "m.set_avatar_url": {"enabled": true},
        "m.3pid_changes": {"enabled": false},
        "m.get_login_token": {"enabled": true},
        "m.forget_forced_upon_leave": {"enabled": false},
    });
    // Under its first name, too: MSC4323.
    for name in ["m.account_moderation", "uk.timedout.msc4323"].into_iter().filter(|_| request.requester.admin) {
        capabilities[name] = json!({"lock": true, "suspend": true});
    }
    Ok(RawJson(Bytes::from(json!({"capabilities": capabilities}).to_string())))
}
