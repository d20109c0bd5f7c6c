//! `m.direct_to_device`. [Send-to-device messaging](https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging).

use std::collections::BTreeMap;

use engine::EngineError;
use ruma::{ServerName, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{IdKind, StoreError};
use users::{
    UsersError,
    encryption::{Addressed, Messages, Transaction},
};

use crate::Federation;

/// Messages of one EDU that are looked at.
const MAX_MESSAGES: usize = 5000;

#[derive(Deserialize)]
struct Content {
    sender: String,
    #[serde(rename = "type")]
    event_type: String,
    message_id: String,
    messages: BTreeMap<String, BTreeMap<String, Box<RawValue>>>,
}

impl Federation {
    pub(super) async fn take_to_device(&self, origin: &ServerName, content: &RawValue) -> Result<(), EngineError> {
        let Ok(content) = serde_json::from_str::<Content>(content.get()) else { return Ok(()) };
        let Content { sender, event_type, message_id, messages } = content;
        let Some(sender) = <&UserId>::try_from(&*sender).ok().filter(|sender| sender.server_name() == origin) else {
            return Ok(());
        };
        let (mut local, mut left) = (Vec::new(), MAX_MESSAGES);
        for (user_id, devices) in messages {
            let ours = <&UserId>::try_from(&*user_id).is_ok_and(|user_id| self.engine.is_local(user_id));
            // Nobody is given a number because a stranger made up a name.
            let user = if ours { self.engine.ids.find(IdKind::User, &user_id).await? } else { None };
            let Some(user) = user else { continue };
            for (device, content) in devices.into_iter().take(left) {
                left -= 1;
                let device = Some(device).filter(|device| device != "*");
                local.push(Addressed { user, device, content });
            }
        }
        let transaction = Transaction::Server { origin: origin.as_str(), message_id: &message_id };
        let nowhere = BTreeMap::new();
        let messages = Messages { sender, event_type: &event_type, local: &local, remote: &nowhere };
        match self.users.to_device.send(transaction, messages).await {
            Err(error) => refused(error),
            Ok(()) => Ok(()),
        }
    }
}

/// Only what went wrong here is an error.
pub(super) fn refused(error: UsersError) -> Result<(), EngineError> {
    match error {
        UsersError::Store(error) => Err(error.into()),
        UsersError::Commit(error) => Err(StoreError::Backend(error.to_string()).into()),
        error => {
            tracing::info!(%error, "what another server told was not taken");
            Ok(())
        }
    }
}
