//! `POST /_matrix/federation/v1/user/keys/claim`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim)).

use axum::extract::State;
use http_kit::RawJson;
use ruma::api::federation::keys::claim_keys::v1::Request;
use serde_json::{Map, Value, json};

use super::{
    Signed,
    keys_error::{MAX_ASKED, RouteError},
};
use crate::Api;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, RouteError> {
    let claims = request.body.one_time_keys;
    if claims.values().map(|devices| 1 + devices.len()).sum::<usize>() > MAX_ASKED {
        return Err(RouteError::TooMany);
    }
    let mut claimed = Map::new();
    for (user_id, devices) in claims {
        if !api.engine.is_local(&user_id) {
            continue;
        }
        let Some(account) = api.users.accounts.by_user_id(&user_id).await? else { continue };
        let mut of_user = Map::new();
        for (device, algorithm) in devices {
            let key = api.users.keys.claim(account.num, device.as_str(), algorithm.as_str()).await?;
            of_user.extend(key.map(|(id, key)| (device.to_string(), json!({id: key}))));
        }
        if !of_user.is_empty() {
            claimed.insert(user_id.to_string(), Value::Object(of_user));
        }
    }
    Ok(RawJson(json!({"one_time_keys": claimed}).to_string().into()))
}
