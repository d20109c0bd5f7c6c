//! `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`

use std::collections::BTreeMap;

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::{
    OwnedServerName, OwnedUserId,
    api::client::to_device::send_event_to_device::v3::{Request, Response},
    to_device::DeviceIdOrAllDevices,
};
use serde_json::value::{RawValue, to_raw_value};
use store::IdKind;
use users::encryption::{Addressed, Messages, Transaction};

use crate::{ApiError, App, keys::device_of};

/// Messages in one request, at most.
const MAX_MESSAGES: usize = 5000;

/// The messages for users of one server.
type ForServer = BTreeMap<OwnedUserId, BTreeMap<String, Box<RawValue>>>;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    if body.messages.values().map(BTreeMap::len).sum::<usize>() > MAX_MESSAGES {
        return Err(MatrixError::too_large(format!("No more than {MAX_MESSAGES} messages in one request")).into());
    }
    let device = device_of(&requester)?;
    let mut local = Vec::new();
    let mut elsewhere: BTreeMap<OwnedServerName, ForServer> = BTreeMap::new();
    for (user_id, messages) in body.messages {
        let is_local = app.engine.is_local(&user_id);
        let user = if is_local { app.engine.ids.find(IdKind::User, user_id.as_str()).await? } else { None };
        for (device, content) in messages {
            let content = content.into_json();
            let named = match &device {
                DeviceIdOrAllDevices::DeviceId(id) => Some(id.to_string()),
                DeviceIdOrAllDevices::AllDevices => None,
            };
            if let Some(user) = user {
                local.push(Addressed { user, device: named, content });
            } else if !is_local {
                check_object(&content)?;
                let users = elsewhere.entry(user_id.server_name().to_owned()).or_default();
                users.entry(user_id.clone()).or_default().insert(device.to_string(), content);
            }
        }
    }
    let mut remote = BTreeMap::new();
    for (server, messages) in elsewhere {
        let messages = to_raw_value(&messages).map_err(MatrixError::internal)?;
        remote.insert(app.engine.server_num(&server).await?, messages);
    }
    let (txn_id, event_type) = (body.txn_id.as_str(), body.event_type.to_string());
    let transaction = Transaction::Client { user: requester.user, device: device.as_str(), txn_id };
    let messages = Messages { sender: &requester.user_id, event_type: &event_type, local: &local, remote: &remote };
    app.users.to_device.send(transaction, messages).await?;
    Ok(Response::new())
}

fn check_object(content: &RawValue) -> Result<(), ApiError> {
    if content.get().trim_start().starts_with('{') {
        return Ok(());
    }
    Err(MatrixError::bad_json("A message must be a JSON object").into())
}
