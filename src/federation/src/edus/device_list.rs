//! `m.device_list_update` and `m.signing_key_update`.
//! [Device Management](https://spec.matrix.org/v1.19/server-server-api/#device-management),
//! [End-to-End Encryption](https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption).

use engine::EngineError;
use ruma::{ServerName, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use users::encryption::{DeviceUpdate, Object, RemoteDevice};

use super::to_device::refused;
use crate::Federation;

/// An id's length in bytes, at most, and changes that one follows on.
const MAX_ID: usize = 255;
const MAX_PREVIOUS: usize = 1000;

#[derive(Deserialize)]
struct ListUpdate {
    user_id: String,
    device_id: String,
    stream_id: u64,
    #[serde(default)]
    prev_id: Vec<u64>,
    #[serde(default)]
    deleted: Option<bool>,
    keys: Option<Object>,
    device_display_name: Option<String>,
}

#[derive(Deserialize)]
struct SigningUpdate {
    user_id: String,
    master_key: Option<Object>,
    self_signing_key: Option<Object>,
}

impl Federation {
    pub(super) async fn take_list_update(&self, origin: &ServerName, content: &RawValue) -> Result<(), EngineError> {
        let Ok(update) = serde_json::from_str::<ListUpdate>(content.get()) else { return Ok(()) };
        let ListUpdate { user_id, device_id, stream_id, mut prev_id, deleted, keys, device_display_name } = update;
        // Who has never been in a room here has no number, and nobody who could look.
        let user = self.user_of(origin, &user_id).await?.filter(|_| device_id.len() <= MAX_ID);
        let (Some(user), Ok(id)) = (user, <&UserId>::try_from(&*user_id)) else { return Ok(()) };
        prev_id.truncate(MAX_PREVIOUS);
        let device = RemoteDevice { display_name: device_display_name, keys };
        let device = Some(device).filter(|_| deleted != Some(true));
        let update = DeviceUpdate { device_id, stream_id, prev_id, device };
        match self.users.remote_devices.update(user, id, update).await {
            Ok(true) => self.wake_those_who_see(origin, &[user_id]).await,
            Ok(false) => Ok(()),
            Err(error) => refused(error),
        }
    }

    pub(super) async fn take_signing_update(&self, origin: &ServerName, content: &RawValue) -> Result<(), EngineError> {
        let Ok(update) = serde_json::from_str::<SigningUpdate>(content.get()) else { return Ok(()) };
        let SigningUpdate { user_id, master_key, self_signing_key } = update;
        let user = self.user_of(origin, &user_id).await?;
        let (Some(user), Ok(id)) = (user, <&UserId>::try_from(&*user_id)) else { return Ok(()) };
        match self.users.remote_devices.update_signing(user, id, master_key, self_signing_key).await {
            Ok(()) => self.wake_those_who_see(origin, &[user_id]).await,
            Err(error) => refused(error),
        }
    }
}
