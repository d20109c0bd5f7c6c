//! Keys of users of other servers, on behalf of local users.
//! [End-to-End Encryption](https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption).

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use ruma::{OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Value, json, value::to_raw_value};
use users::encryption::{Object, RemoteDevice, RemoteList, UserKeys};

use super::queries::encoded;
use crate::{CallError, CallLimits, Federation};

/// An answer's size in bytes, at most.
const MAX_BODY: usize = 8 << 20;

/// One-time keys by user, device and `algorithm:id`.
type OneTimeKeys = BTreeMap<OwnedUserId, BTreeMap<String, BTreeMap<String, Value>>>;

#[derive(Deserialize)]
struct Devices {
    user_id: OwnedUserId,
    stream_id: u64,
    #[serde(default)]
    devices: Vec<Device>,
    master_key: Option<Object>,
    self_signing_key: Option<Object>,
}

#[derive(Deserialize)]
struct Device {
    device_id: String,
    keys: Option<Object>,
    device_display_name: Option<String>,
}

#[derive(Deserialize)]
struct QueriedKeys {
    #[serde(default)]
    device_keys: BTreeMap<String, BTreeMap<String, Object>>,
    #[serde(default)]
    master_keys: BTreeMap<String, Object>,
    #[serde(default)]
    self_signing_keys: BTreeMap<String, Object>,
}

#[derive(Deserialize)]
struct Claimed {
    #[serde(default)]
    one_time_keys: BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>>,
}

fn limits(timeout: Duration) -> CallLimits {
    CallLimits { timeout, max_body: MAX_BODY }
}

fn bad(error: serde_json::Error) -> CallError {
    CallError::BadRequest(error.to_string())
}

impl Federation {
    /// The list of the devices of a user of another server.
    ///
    /// # Errors
    /// [`CallError`]; 404 where there is no such user.
    pub async fn device_list(&self, user_id: &UserId, timeout: Duration) -> Result<RemoteList, CallError> {
        let target = format!("/_matrix/federation/v1/user/devices/{}", encoded(user_id.as_str()));
        let found: Devices =
            self.client.json(user_id.server_name(), Method::GET, target, None, limits(timeout)).await?;
        if found.user_id != user_id {
            return Err(CallError::BadReply(format!("it is about {}, not {user_id}", found.user_id)));
        }
        let devices = found.devices.into_iter().map(|device| {
            let Device { device_id, keys, device_display_name: display_name } = device;
            (device_id, RemoteDevice { display_name, keys })
        });
        let list = RemoteList {
            stream_id: found.stream_id,
            devices: devices.collect(),
            master: found.master_key,
            self_signing: found.self_signing_key,
        };
        Ok(list.of(user_id))
    }

    /// Keys of users of another server, of some devices or, where none is named, of all. Only what was asked for is given.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn query_keys(
        &self,
        server: &ServerName,
        users: &BTreeMap<OwnedUserId, Vec<String>>,
        timeout: Duration,
    ) -> Result<BTreeMap<OwnedUserId, UserKeys>, CallError> {
        let body = to_raw_value(&json!({"device_keys": users})).map_err(bad)?;
        let target = "/_matrix/federation/v1/user/keys/query".to_owned();
        let mut found: QueriedKeys =
            self.client.json(server, Method::POST, target, Some(&body), limits(timeout)).await?;
        let mut out = BTreeMap::new();
        for (user_id, wanted) in users.iter().filter(|(user_id, _)| user_id.server_name() == server) {
            let id = user_id.as_str();
            let (master, self_signing) = (found.master_keys.remove(id), found.self_signing_keys.remove(id));
            let devices = found.device_keys.remove(id);
            if devices.is_none() && master.is_none() {
                continue;
            }
            let devices =
                devices.unwrap_or_default().into_iter().filter(|(id, _)| wanted.is_empty() || wanted.contains(id));
            let devices = devices.map(|(id, keys)| {
                let name = keys.get("unsigned").and_then(|unsigned| unsigned.get("device_display_name")?.as_str());
                let display_name = name.map(ToOwned::to_owned);
                (id, RemoteDevice { display_name, keys: Some(keys) })
            });
            let list = RemoteList { stream_id: 0, devices: devices.collect(), master, self_signing };
            out.insert(user_id.clone(), list.of(user_id).into_keys());
        }
        Ok(out)
    }

    /// Claims one-time keys of users of another server: by user and device, the algorithm. Only what was asked for is given.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn claim_keys(
        &self,
        server: &ServerName,
        claims: &BTreeMap<OwnedUserId, BTreeMap<String, String>>,
        timeout: Duration,
    ) -> Result<OneTimeKeys, CallError> {
        let body = to_raw_value(&json!({"one_time_keys": claims})).map_err(bad)?;
        let target = "/_matrix/federation/v1/user/keys/claim".to_owned();
        let mut found: Claimed = self.client.json(server, Method::POST, target, Some(&body), limits(timeout)).await?;
        let mut out = OneTimeKeys::new();
        for (user_id, devices) in claims.iter().filter(|(user_id, _)| user_id.server_name() == server) {
            let Some(mut of_user) = found.one_time_keys.remove(user_id.as_str()) else { continue };
            for (device, algorithm) in devices {
                let mut keys = of_user.remove(device).unwrap_or_default();
                keys.retain(|id, _| id.split_once(':').is_some_and(|(kind, _)| kind == algorithm));
                // One is asked for, one is given.
                if let Some((id, key)) = keys.pop_first() {
                    let of_device = out.entry(user_id.clone()).or_default().entry(device.clone()).or_default();
                    of_device.insert(id, key);
                }
            }
        }
        Ok(out)
    }
}
