//! Room keys that clients keep here, encrypted.
//! [Server-side key backups](https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups).

mod create_version;
mod delete_keys;
mod delete_version;
mod get_keys;
mod get_version;
mod put_keys;
mod update_version;

use axum::Router;
use bytes::Bytes;
use http_kit::{EndpointOptions, MatrixError, RawJson, RumaRouter};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use users::{UsersError, encryption::BackupState};

use crate::{ApiError, App};

/// Clients upload hundreds of keys at once.
const MAX_UPLOAD: usize = 16 << 20;

pub(crate) fn router() -> Router<App> {
    let large = EndpointOptions::default().body_limit(MAX_UPLOAD);
    Router::new()
        .ruma(create_version::handler)
        .ruma(get_version::latest)
        .ruma(get_version::handler)
        .ruma(update_version::handler)
        .ruma(delete_version::handler)
        .ruma_with(large, put_keys::all)
        .ruma_with(large, put_keys::room)
        .ruma(put_keys::session)
        .ruma(get_keys::all)
        .ruma(get_keys::room)
        .ruma(get_keys::session)
        .ruma(delete_keys::all)
        .ruma(delete_keys::room)
        .ruma(delete_keys::session)
}

/// What a client says of a version.
#[derive(Deserialize)]
struct Described {
    algorithm: String,
    auth_data: Box<RawValue>,
    version: Option<String>,
}

/// The number of a version. Texts that are none name no version.
fn version(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| UsersError::NoBackup("backup").into())
}

fn described(json: &RawValue) -> Result<Described, ApiError> {
    serde_json::from_str(json.get())
        .map_err(|_| MatrixError::bad_json("A backup needs an algorithm and auth_data").into())
}

/// What keys are in a backup after a change.
fn answer(state: BackupState) -> RawJson {
    let BackupState { etag, count } = state;
    RawJson(Bytes::from(json!({"etag": etag.to_string(), "count": count}).to_string()))
}
