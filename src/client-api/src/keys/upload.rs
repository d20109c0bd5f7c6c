//! `POST /_matrix/client/v3/keys/upload`

use std::collections::BTreeMap;

use axum::extract::State;
use bytes::Bytes;
use http_kit::{RawJson, Ruma, WithJson};
use ruma::api::client::keys::upload_keys::v3::Request;
use serde::Deserialize;
use serde_json::{Value, json};
use users::encryption::{Object, Upload};

use super::{MAX_ASKED, device_of, too_many};
use crate::{ApiError, App};

/// The keys with all of their fields: they were signed.
#[derive(Deserialize)]
pub(super) struct Body {
    device_keys: Option<Object>,
    one_time_keys: Option<BTreeMap<String, Value>>,
    fallback_keys: Option<BTreeMap<String, Value>>,
}

pub(super) async fn handler(
    State(app): State<App>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let Body { device_keys, one_time_keys, fallback_keys } = body.json;
    let (one_time_keys, fallback_keys) = (one_time_keys.unwrap_or_default(), fallback_keys.unwrap_or_default());
    if one_time_keys.len() + fallback_keys.len() > MAX_ASKED {
        return Err(too_many());
    }
    let upload = Upload { device_keys, one_time_keys, fallback_keys };
    let device = device_of(&requester)?;
    let counts = app.users.keys.upload(requester.user, &requester.user_id, device, upload).await?;
    Ok(RawJson(Bytes::from(json!({"one_time_key_counts": counts}).to_string())))
}
