//! `POST /_matrix/client/v3/keys/query`

use std::collections::BTreeMap;

use axum::extract::State;
use bytes::Bytes;
use http_kit::{RawJson, Ruma, WithJson};
use ruma::{OwnedServerName, OwnedUserId, UserId, api::client::keys::get_keys::v3::Request};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use users::encryption::{UserKeys, Viewer};

use super::{MAX_ASKED, patience, too_many};
use crate::{ApiError, App};

#[derive(Deserialize)]
pub(super) struct Body {
    timeout: Option<u64>,
    device_keys: BTreeMap<OwnedUserId, Vec<String>>,
}

/// The answer, part by part.
#[derive(Default)]
struct Answer {
    device_keys: Map<String, Value>,
    master_keys: Map<String, Value>,
    self_signing_keys: Map<String, Value>,
    user_signing_keys: Map<String, Value>,
    failures: Map<String, Value>,
}

impl Answer {
    fn add(&mut self, user_id: &UserId, keys: UserKeys) {
        let UserKeys { devices, master, self_signing, user_signing } = keys;
        let devices: Map<String, Value> = devices.into_iter().map(|(id, keys)| (id, keys.into())).collect();
        self.device_keys.insert(user_id.to_string(), devices.into());
        let parts = [
            (&mut self.master_keys, master),
            (&mut self.self_signing_keys, self_signing),
            (&mut self.user_signing_keys, user_signing),
        ];
        for (part, key) in parts {
            if let Some(key) = key {
                part.insert(user_id.to_string(), key.into());
            }
        }
    }
}

pub(super) async fn handler(
    State(app): State<App>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let Body { timeout, device_keys } = body.json;
    if device_keys.values().map(|devices| 1 + devices.len()).sum::<usize>() > MAX_ASKED {
        return Err(too_many());
    }
    let viewer = Viewer { user: requester.user, user_id: &requester.user_id };
    let mut answer = Answer::default();
    let mut elsewhere: BTreeMap<OwnedServerName, BTreeMap<OwnedUserId, Vec<String>>> = BTreeMap::new();
    for (user_id, devices) in device_keys {
        if !app.engine.is_local(&user_id) {
            let server = user_id.server_name().to_owned();
            elsewhere.entry(server).or_default().insert(user_id, devices);
        } else if let Some(account) = app.users.accounts.by_user_id(&user_id).await? {
            let keys = app.users.keys.of_user(account.num, &user_id, &devices, Some(viewer)).await?;
            answer.add(&user_id, keys);
        }
    }
    let (found, failed) = app.remote_keys(viewer, elsewhere, patience(timeout)).await?;
    for (user_id, keys) in found {
        answer.add(&user_id, keys);
    }
    for server in failed {
        answer.failures.insert(server.to_string(), super::remote::failure());
    }
    let Answer { device_keys, master_keys, self_signing_keys, user_signing_keys, failures } = answer;
    let text = json!({
        "device_keys": device_keys,
        "master_keys": master_keys,
        "self_signing_keys": self_signing_keys,
        "user_signing_keys": user_signing_keys,
        "failures": failures,
    });
    Ok(RawJson(Bytes::from(text.to_string())))
}
