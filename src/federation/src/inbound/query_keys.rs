//! `POST /_matrix/federation/v1/user/keys/query`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery)).

use axum::extract::State;
use http_kit::RawJson;
use ruma::api::federation::keys::get_keys::v1::Request;
use serde_json::{Map, Value, json};

use super::{
    Signed,
    keys_error::{MAX_ASKED, RouteError},
};
use crate::Api;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, RouteError> {
    let asked = request.body.device_keys;
    if asked.values().map(|devices| 1 + devices.len()).sum::<usize>() > MAX_ASKED {
        return Err(RouteError::TooMany);
    }
    let (mut all, mut masters, mut self_signing) = (Map::new(), Map::new(), Map::new());
    for (user_id, devices) in asked {
        if !api.engine.is_local(&user_id) {
            continue;
        }
        let account = api.users.accounts.by_user_id(&user_id).await?.filter(|account| !account.deactivated);
        let Some(account) = account else { continue };
        let devices: Vec<String> = devices.into_iter().map(|device| device.to_string()).collect();
        let keys = api.users.keys.of_user(account.num, &user_id, &devices, None).await?;
        let devices: Map<String, Value> = keys.devices.into_iter().map(|(id, keys)| (id, keys.into())).collect();
        all.insert(user_id.to_string(), devices.into());
        masters.extend(keys.master.map(|key| (user_id.to_string(), key.into())));
        self_signing.extend(keys.self_signing.map(|key| (user_id.to_string(), key.into())));
    }
    let answer = json!({"device_keys": all, "master_keys": masters, "self_signing_keys": self_signing});
    Ok(RawJson(answer.to_string().into()))
}
