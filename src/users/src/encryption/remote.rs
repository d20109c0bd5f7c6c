//! What is known of the devices of remote users.
//! [Device Management](https://spec.matrix.org/v1.19/server-server-api/#device-management).
//!
//! A list is asked for when somebody wants it, and kept up to date by what the user's server tells. What does not follow on what is
//! known makes the list stale: it is asked for again the next time.

use std::{collections::BTreeMap, sync::Arc};

use ruma::UserId;
use serde_json::{Value, json};
use store::{Json, Pos};

use super::{
    MAX_ID, Object,
    cross_signing::checked,
    keys::{UserKeys, Viewer, check_size},
    lists::DeviceLists,
    rows::{RemoteDevice, RemoteListRow},
};
use crate::{
    core::{Core, UserLock},
    encryption::Keys,
    error::Result,
    tables::{CROSS_SIGNING_KEYS, REMOTE_DEVICES, REMOTE_LISTS, UserNum},
};

/// Devices of a user that are kept, at most; a longer list is asked for each time.
const MAX_DEVICES: usize = 1000;
/// A name's length in bytes, at most.
const MAX_NAME: usize = 1024;

/// A list of devices as its server gives it.
#[derive(Debug, Clone, Default)]
pub struct RemoteList {
    /// What the changes that come follow on.
    pub stream_id: u64,
    /// The devices.
    pub devices: BTreeMap<String, RemoteDevice>,
    /// The master key.
    pub master: Option<Object>,
    /// The self-signing key.
    pub self_signing: Option<Object>,
}

/// A change of one device, as its server tells it.
#[derive(Debug, Clone, Default)]
pub struct DeviceUpdate {
    /// The device's id.
    pub device_id: String,
    /// Where the change stands in the sequence.
    pub stream_id: u64,
    /// What it follows on.
    pub prev_id: Vec<u64>,
    /// What the device is now; none where it is gone.
    pub device: Option<RemoteDevice>,
}

/// Lists of remote users.
#[derive(Debug)]
pub struct RemoteDevices {
    core: Arc<Core>,
    lists: Arc<DeviceLists>,
    keys: Arc<Keys>,
}

impl RemoteList {
    /// The list without what is not of the user, or not of the form that keys have.
    #[must_use]
    pub fn of(mut self, user_id: &UserId) -> Self {
        self.devices.retain(|id, device| {
            let right = |keys: &Object| {
                let text = |field: &str| keys.get(field).and_then(Value::as_str);
                let own = text("user_id") == Some(user_id.as_str()) && text("device_id") == Some(id);
                own && check_size(&Value::Object(keys.clone())).is_ok()
            };
            device.keys = device.keys.take().filter(right);
            device.display_name = device.display_name.take().filter(|name| name.len() <= MAX_NAME);
            id.len() <= MAX_ID
        });
        self.master = self.master.filter(|key| checked(key, "master", user_id.as_str()).is_ok());
        self.self_signing = self.self_signing.filter(|key| checked(key, "self_signing", user_id.as_str()).is_ok());
        self
    }

    /// The keys in it, with the names of devices as clients see them.
    pub fn into_keys(self) -> UserKeys {
        let devices = self.devices.into_iter().filter_map(|(id, device)| {
            let mut keys = device.keys?;
            keys.remove("unsigned");
            if let Some(name) = device.display_name {
                keys.insert("unsigned".to_owned(), json!({"device_display_name": name}));
            }
            Some((id, keys))
        });
        UserKeys {
            devices: devices.collect(),
            master: self.master,
            self_signing: self.self_signing,
            user_signing: None,
        }
    }
}

impl RemoteDevices {
    pub(crate) fn new(core: Arc<Core>, lists: Arc<DeviceLists>, keys: Arc<Keys>) -> Self {
        Self { core, lists, keys }
    }

    async fn row(&self, user: UserNum) -> Result<RemoteListRow> {
        Ok(self.core.db.get(&REMOTE_LISTS, &user).await?.map(|row| row.0).unwrap_or_default())
    }

    /// The position at which the list that is kept of a user was asked for, where it is right as far as was heard.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn fetched(&self, user: UserNum) -> Result<Option<Pos>> {
        let row = self.row(user).await?;
        Ok(row.fresh.then_some(row.fetched))
    }

    /// The keys that are kept of a user, with the signatures that a viewer sees.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn keys(&self, user: UserNum, user_id: &UserId, viewer: Viewer<'_>) -> Result<UserKeys> {
        let rows = self.core.db.scan_all(&REMOTE_DEVICES, &user).await?;
        let devices = rows.into_iter().map(|((_, id), Json(device))| (id, device)).collect();
        let mut keys = RemoteList { devices, ..RemoteList::default() }.into_keys();
        self.keys.add_cross_signing(user, false, &mut keys).await?;
        self.keys.sign(user, user_id, Some(viewer), &mut keys).await?;
        self.note_asked(user).await?;
        Ok(keys)
    }

    /// Somebody was given the list: they are told when it changes.
    async fn note_asked(&self, user: UserNum) -> Result<()> {
        if self.row(user).await?.asked {
            return Ok(());
        }
        let lock = self.core.lock(user).await;
        let row = self.row(user).await?;
        let mut write = self.core.db.write();
        write.put(&REMOTE_LISTS, &user, &Json(RemoteListRow { asked: true, ..row }));
        Ok(self.core.commit(lock, write, || ()).await?)
    }

    /// Keeps a list that was asked for at a position, in place of what was known.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn store(&self, user: UserNum, user_id: &UserId, fetched: Pos, list: RemoteList) -> Result<()> {
        let list = list.of(user_id);
        let lock = self.core.lock(user).await;
        let row = self.row(user).await?;
        // A change that was heard of meanwhile may be missing in it.
        let fresh = list.stream_id >= row.seen && list.devices.len() <= MAX_DEVICES;
        let row = RemoteListRow {
            stream_id: list.stream_id,
            seen: row.seen.max(list.stream_id),
            fetched,
            fresh,
            asked: true,
        };
        let mut write = self.core.db.write();
        write.op(REMOTE_DEVICES.delete_prefix(&user)).put(&REMOTE_LISTS, &user, &Json(row));
        for (id, device) in list.devices.into_iter().take(MAX_DEVICES) {
            write.put(&REMOTE_DEVICES, &(user, id), &Json(device));
        }
        for (kind, key) in [("master", list.master), ("self_signing", list.self_signing)] {
            let place = (user, kind.to_owned());
            match key {
                Some(key) => write.put(&CROSS_SIGNING_KEYS, &place, &Json(key)),
                None => write.delete(&CROSS_SIGNING_KEYS, &place),
            };
        }
        Ok(self.core.commit(lock, write, || ()).await?)
    }

    /// Takes in what a user's server tells of a device. Says whether those who see the user have to look again; they are to be woken
    /// then.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn update(&self, user: UserNum, user_id: &UserId, update: DeviceUpdate) -> Result<bool> {
        let lock = self.core.lock(user).await;
        let row = self.row(user).await?;
        if row.fresh && update.stream_id <= row.stream_id {
            return Ok(false);
        }
        let follows = !update.prev_id.is_empty() && update.prev_id.iter().all(|prev| *prev <= row.stream_id);
        // A list that is told of without a change is news to those only who were given it before.
        let seen = row.asked || !update.prev_id.is_empty();
        let mut new = RemoteListRow { seen: row.seen.max(update.stream_id), asked: row.asked && !seen, ..row };
        let mut ops = Vec::new();
        if row.fresh && follows {
            let DeviceUpdate { device_id, device, .. } = update;
            let place = (user, device_id.clone());
            let known = self.core.db.get(&REMOTE_DEVICES, &place).await?.is_some();
            let devices = device.map(|device| (device_id, device)).into_iter().collect();
            let checked = RemoteList { devices, ..RemoteList::default() }.of(user_id).devices.into_values().next();
            match checked {
                Some(device) => ops.push(REMOTE_DEVICES.put(&place, &Json(device))),
                None => ops.push(REMOTE_DEVICES.delete(&place)),
            }
            new.stream_id = update.stream_id;
            new.fresh = known || self.core.db.scan_all(&REMOTE_DEVICES, &user).await?.len() < MAX_DEVICES;
        } else {
            new.fresh = false;
        }
        ops.push(REMOTE_LISTS.put(&user, &Json(new)));
        self.commit(lock, user, ops, seen).await?;
        Ok(seen)
    }

    /// Takes in the cross-signing keys that a user's server tells. Those who see the user have to look again, and are to be woken.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn update_signing(
        &self,
        user: UserNum,
        user_id: &UserId,
        master: Option<Object>,
        self_signing: Option<Object>,
    ) -> Result<()> {
        let lock = self.core.lock(user).await;
        let list = RemoteList { master, self_signing, ..RemoteList::default() }.of(user_id);
        let keys = [("master", list.master), ("self_signing", list.self_signing)];
        let mut ops: Vec<_> = keys
            .into_iter()
            .filter_map(|(kind, key)| Some(CROSS_SIGNING_KEYS.put(&(user, kind.to_owned()), &Json(key?))))
            .collect();
        let row = self.row(user).await?;
        ops.push(REMOTE_LISTS.put(&user, &Json(RemoteListRow { asked: false, ..row })));
        self.commit(lock, user, ops, true).await
    }

    async fn commit(&self, lock: UserLock, user: UserNum, ops: Vec<store::Op>, seen: bool) -> Result<()> {
        let change = self.lists.remote_change(user, seen).await?;
        let (positions, done) = (change.positions(), change.done());
        let build = move |first: Pos, write: &mut store::DbWrite<'_>| {
            write.ops(ops);
            change.write(first, write);
        };
        self.core.commit_at(lock, positions, build, done).await?;
        Ok(())
    }
}
