//! `POST /_matrix/client/v3/keys/claim`

use std::collections::BTreeMap;

use axum::extract::State;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_kit::{RawJson, Ruma, WithJson};
use ruma::{OwnedServerName, api::client::keys::claim_keys::v3::Request};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{MAX_ASKED, SERVERS_AT_ONCE, patience, too_many};
use crate::{
    ApiError, App,
    remote_queries::{ClaimedKeys, Claims},
};

#[derive(Deserialize)]
pub(super) struct Body {
    timeout: Option<u64>,
    one_time_keys: Claims,
}

pub(super) async fn handler(
    State(app): State<App>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<RawJson, ApiError> {
    let Body { timeout, one_time_keys } = request.body.json;
    if one_time_keys.values().map(|devices| 1 + devices.len()).sum::<usize>() > MAX_ASKED {
        return Err(too_many());
    }
    let patience = patience(timeout);
    let mut elsewhere: BTreeMap<OwnedServerName, Claims> = BTreeMap::new();
    let mut claimed = ClaimedKeys::new();
    for (user_id, devices) in one_time_keys {
        if !app.engine.is_local(&user_id) {
            elsewhere.entry(user_id.server_name().to_owned()).or_default().insert(user_id, devices);
            continue;
        }
        let Some(account) = app.users.accounts.by_user_id(&user_id).await? else { continue };
        for (device, algorithm) in devices {
            if let Some((id, key)) = app.users.keys.claim(account.num, &device, &algorithm).await? {
                claimed.entry(user_id.clone()).or_default().entry(device).or_default().insert(id, key);
            }
        }
    }
    let app = &app;
    let asking: Vec<_> = elsewhere
        .into_iter()
        .map(|(server, claims)| async move {
            let keys = app.remotes.claim_keys(&server, &claims, patience).await;
            (server, keys)
        })
        .collect();
    let answers: Vec<_> = stream::iter(asking).buffer_unordered(SERVERS_AT_ONCE).collect().await;
    let mut failures: Map<String, Value> = Map::new();
    for (server, keys) in answers {
        match keys {
            Ok(keys) => claimed.extend(keys),
            Err(_) => drop(failures.insert(server.to_string(), super::remote::failure())),
        }
    }
    let answer = json!({"one_time_keys": claimed, "failures": failures});
    Ok(RawJson(Bytes::from(answer.to_string())))
}
