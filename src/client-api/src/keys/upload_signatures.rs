//! `POST /_matrix/client/v3/keys/signatures/upload`

use std::collections::BTreeMap;

use axum::extract::State;
use bytes::Bytes;
use http_kit::{RawJson, Ruma, WithJson};
use ruma::{OwnedUserId, api::client::keys::upload_signatures::v3::Request};
use serde_json::{Map, Value, json};

use crate::{ApiError, App};

type Body = BTreeMap<OwnedUserId, BTreeMap<String, Value>>;

pub(super) async fn handler(
    State(app): State<App>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let failed = app.users.cross_signing.upload_signatures(requester.user, &requester.user_id, body.json).await?;
    let mut failures = Map::new();
    for (user_id, keys) in failed {
        let keys: Map<String, Value> =
            keys.into_iter().map(|(id, why)| (id, json!({"errcode": "M_INVALID_SIGNATURE", "error": why}))).collect();
        failures.insert(user_id.to_string(), keys.into());
    }
    Ok(RawJson(Bytes::from(json!({"failures": failures}).to_string())))
}
