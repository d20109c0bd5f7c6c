//! `GET /_matrix/federation/v1/user/devices/{userId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid)).

use axum::extract::State;
use http_kit::{MatrixError, RawJson, route_error};
use ruma::api::federation::device::get_devices::v1::Request;
use serde_json::{Map, Value, json};
use users::{UsersError, encryption::Object};

use super::Signed;
use crate::Api;

#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("There is no such user")]
    UnknownUser,
    #[error(transparent)]
    Users(#[from] UsersError),
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::UnknownUser => Self::not_found(error.to_string()),
            RouteError::Users(error) => Self::internal(error),
        }
    }
}

route_error!(RouteError);

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, RouteError> {
    let user_id = request.body.user_id;
    if !api.engine.is_local(&user_id) {
        return Err(RouteError::UnknownUser);
    }
    let account = api.users.accounts.by_user_id(&user_id).await?.filter(|account| !account.deactivated);
    let user = account.ok_or(RouteError::UnknownUser)?.num;
    // Before the keys: a change that lands in between is told again, and not missed.
    let stream_id = api.users.device_lists.stream_id(user).await?;
    let keys = api.users.keys.of_user(user, &user_id, &[], None).await?;
    let devices: Vec<Value> = keys.devices.into_iter().map(|(id, keys)| device(id, keys)).collect();
    let mut answer = Map::new();
    answer.insert("user_id".to_owned(), user_id.as_str().into());
    answer.insert("stream_id".to_owned(), stream_id.into());
    answer.insert("devices".to_owned(), devices.into());
    for (name, key) in [("master_key", keys.master), ("self_signing_key", keys.self_signing)] {
        if let Some(key) = key {
            answer.insert(name.to_owned(), key.into());
        }
    }
    Ok(RawJson(Value::Object(answer).to_string().into()))
}

fn device(id: String, mut keys: Object) -> Value {
    let name =
        keys.remove("unsigned").and_then(|mut unsigned| unsigned.get_mut("device_display_name").map(Value::take));
    let mut device = json!({"device_id": id, "keys": keys});
    if let Some(name) = name {
        device["device_display_name"] = name;
    }
    device
}
