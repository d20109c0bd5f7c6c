//! Devices: one per log-in, with its tokens.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use ruma::{DeviceId, OwnedDeviceId};
use serde::{Deserialize, Serialize};
use store::{DbWrite, Json, Op, Pos};

use crate::{
    account_data::{AccountData, Removal},
    core::{Core, UserLock},
    encryption::{DeviceLists, deletion_of_device, key_id_of},
    error::{Result, UsersError},
    hash::Hash,
    tables::{CROSS_SIGNING_KEYS, DELAYED_TXNS, DEVICE_SEEN, DEVICES, UserNum},
    tokens::{NewGrant, NewTokens, Tokens},
};

/// A device id's and a display name's length in bytes, at most.
const MAX_ID: usize = 255;
const MAX_DISPLAY_NAME: usize = 1024;
/// Account data whose type ends with the id of the device that it is about, and which ends with that device.
/// [MSC3890](https://github.com/matrix-org/matrix-spec-proposals/pull/3890)
const LOCAL_SETTINGS: [&str; 2] = ["org.matrix.msc3890.local_notification_settings.", "m.local_notification_settings."];

/// Finds the operations that clear away what others keep about a device (transaction ids, say), in the commit that
/// deletes the device. Called under the user's lock: what was written with [`Devices::commit_held`] is there already, or never will be.
pub type DeleteHook = Arc<dyn Fn(UserNum, &DeviceId) -> BoxFuture<'static, Result<Vec<Op>>> + Send + Sync>;

/// A user whose devices stay as they are as long as this is there.
#[derive(Debug)]
pub struct HeldUser {
    user: UserNum,
    lock: UserLock,
}

impl HeldUser {
    /// The user.
    pub fn user(&self) -> UserNum {
        self.user
    }
}

/// A device of a local user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id, unique for the user.
    pub device_id: OwnedDeviceId,
    /// The name that people see.
    pub display_name: Option<String>,
    /// When it was created, in Unix milliseconds.
    pub created_ts: u64,
    /// When it was last heard of, in Unix milliseconds.
    pub last_seen_ts: Option<u64>,
    /// From where.
    pub last_seen_ip: Option<IpAddr>,
}

/// A device to be created or logged in anew.
#[derive(Debug, Clone)]
pub struct NewDevice<'a> {
    /// Its id. If the user has such a device already, its older tokens die and its name stays unless given.
    pub device_id: OwnedDeviceId,
    /// The name that people see.
    pub display_name: Option<String>,
    /// The tokens of this log-in.
    pub tokens: NewTokens<'a>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeviceRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    created_ts: u64,
}

impl DeviceRow {
    pub(crate) fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    ts: u64,
    ip: IpAddr,
}

/// Operations on devices together with the tokens they end.
#[derive(Default)]
pub(crate) struct DeviceOps {
    pub(crate) ops: Vec<Op>,
    pub(crate) ended: Vec<Hash>,
    /// Devices that are new, renamed or gone.
    pub(crate) changed: Vec<String>,
    /// Settings that end with their device.
    pub(crate) settings: Vec<Removal>,
}

/// The devices of local users.
pub struct Devices {
    core: Arc<Core>,
    tokens: Arc<Tokens>,
    lists: Arc<DeviceLists>,
    account_data: Arc<AccountData>,
    hooks: RwLock<Vec<DeleteHook>>,
    /// What was seen and is not on disk yet.
    seen: Mutex<HashMap<UserNum, HashMap<OwnedDeviceId, Seen>>>,
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").finish_non_exhaustive()
    }
}

impl Devices {
    pub(crate) fn new(
        core: Arc<Core>,
        tokens: Arc<Tokens>,
        lists: Arc<DeviceLists>,
        account_data: Arc<AccountData>,
    ) -> Self {
        Self { core, tokens, lists, account_data, hooks: RwLock::default(), seen: Mutex::default() }
    }

    /// Adds operations to the commits that delete devices.
    pub fn on_delete(&self, hook: DeleteHook) {
        self.hooks.write().push(hook);
    }

    /// Creates a device with its tokens, or logs an existing one in anew, which ends its older tokens.
    ///
    /// # Errors
    /// [`UsersError::InvalidId`] and those of the store.
    pub async fn create(&self, user: UserNum, new: &NewDevice<'_>) -> Result<()> {
        let lock = self.core.lock(user).await;
        let ops = self.prepare(user, new).await?;
        self.commit(lock, user, ops).await
    }

    /// The same for a log-in by a grant, with `also` in the same commit.
    ///
    /// # Errors
    /// As [`Devices::create`].
    pub async fn create_granted(
        &self,
        user: UserNum,
        new: &NewDevice<'_>,
        grant: &NewGrant<'_>,
        also: Vec<Op>,
    ) -> Result<()> {
        let lock = self.core.lock(user).await;
        let mut ops = self.prepare(user, new).await?;
        Tokens::add_grant(user, &new.device_id, grant, &mut ops.ops);
        ops.ops.extend(also);
        self.commit(lock, user, ops).await
    }

    /// Creates a device that has no tokens, for an application service; one that exists gets the name, where one is given. Says
    /// whether it was created.
    ///
    /// # Errors
    /// [`UsersError::InvalidId`], [`UsersError::TooLarge`] and those of the store.
    pub async fn create_without_tokens(
        &self,
        user: UserNum,
        device: &DeviceId,
        display_name: Option<String>,
    ) -> Result<bool> {
        check_id(device.as_str())?;
        check_display_name(display_name.as_deref())?;
        let lock = self.core.lock(user).await;
        let key = (user, device.as_str().to_owned());
        let old = self.core.db.get(&DEVICES, &key).await?.map(|Json(row)| row);
        let created = old.is_none();
        let row = match old {
            Some(old) if display_name.is_none() || display_name == old.display_name => return Ok(false),
            Some(old) => DeviceRow { display_name, ..old },
            None => {
                self.check_unlike_keys(user, &key.1).await?;
                DeviceRow { display_name, created_ts: self.core.clock.now_ms() }
            }
        };
        let ops = vec![DEVICES.put(&key, &Json(row))];
        self.commit(lock, user, DeviceOps { ops, changed: vec![key.1], ..DeviceOps::default() }).await?;
        Ok(created)
    }

    /// A device is not named like one of its user's cross-signing keys.
    async fn check_unlike_keys(&self, user: UserNum, device: &str) -> Result<()> {
        let keys = self.core.db.scan_all(&CROSS_SIGNING_KEYS, &user).await?;
        match keys.iter().any(|(_, Json(key))| key_id_of(key) == Some(device)) {
            true => Err(UsersError::KeyIdInUse),
            false => Ok(()),
        }
    }

    /// The operations that create a device; for use under the user's lock.
    pub(crate) async fn prepare(&self, user: UserNum, new: &NewDevice<'_>) -> Result<DeviceOps> {
        let id = new.device_id.as_str();
        check_id(id)?;
        check_display_name(new.display_name.as_deref())?;
        let key = (user, id.to_owned());
        let old = self.core.db.get(&DEVICES, &key).await?;
        let mut out = DeviceOps::default();
        let row = match old {
            Some(Json(old)) => {
                self.tokens.delete_of_device(user, &new.device_id, &mut out).await?;
                if new.display_name.as_ref().is_some_and(|name| Some(name) != old.display_name.as_ref()) {
                    out.changed.push(id.to_owned());
                }
                DeviceRow { display_name: new.display_name.clone().or(old.display_name), ..old }
            }
            None => {
                self.check_unlike_keys(user, id).await?;
                out.changed.push(id.to_owned());
                DeviceRow { display_name: new.display_name.clone(), created_ts: self.core.clock.now_ms() }
            }
        };
        out.ops.push(DEVICES.put(&key, &Json(row)));
        self.tokens.issue(user, &new.device_id, &new.tokens, None, &mut out.ops);
        Ok(out)
    }

    pub(crate) async fn commit(&self, lock: UserLock, user: UserNum, changes: DeviceOps) -> Result<()> {
        let DeviceOps { mut ops, ended, changed, settings } = changes;
        self.add_seen(user, &mut ops).await?;
        let change = self.lists.change(user, changed, false).await?;
        let (told_at, told) = (change.positions(), change.done());
        let positions = told_at.saturating_add(settings.len() as u64);
        let removed = (!settings.is_empty()).then(|| self.account_data.removed(user));
        let tokens = Arc::clone(&self.tokens);
        let build = move |first: Pos, write: &mut store::DbWrite<'_>| {
            write.ops(ops);
            change.write(first, write);
            for (pos, removal) in (first.saturating_add(told_at)..).zip(settings) {
                removal.write(pos, write);
            }
        };
        let done = move |first: Pos| {
            tokens.forget(&ended);
            told(first);
            if let Some(removed) = removed {
                removed(first.saturating_add(positions).saturating_sub(1));
            }
        };
        self.core.commit_at(lock, positions, build, done).await?;
        Ok(())
    }

    /// One device.
    ///
    /// # Errors
    /// [`UsersError::DeviceNotFound`] and those of the store.
    pub async fn get(&self, user: UserNum, device: &DeviceId) -> Result<Device> {
        let key = (user, device.as_str().to_owned());
        let Json(row) = self.core.db.get(&DEVICES, &key).await?.ok_or(UsersError::DeviceNotFound)?;
        let stored = self.core.db.get(&DEVICE_SEEN, &key).await?.map(|Json(seen)| seen);
        Ok(self.device(user, device.to_owned(), row, stored))
    }

    /// All devices of a user, in the order of their ids.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, user: UserNum) -> Result<Vec<Device>> {
        let (rows, seen) =
            futures::try_join!(self.core.db.scan_all(&DEVICES, &user), self.core.db.scan_all(&DEVICE_SEEN, &user))?;
        let mut seen: HashMap<String, Seen> = seen.into_iter().map(|((_, id), Json(seen))| (id, seen)).collect();
        let devices = rows.into_iter().map(|((_, id), Json(row))| {
            let stored = seen.remove(&id);
            self.device(user, id.into(), row, stored)
        });
        Ok(devices.collect())
    }

    fn device(&self, user: UserNum, device_id: OwnedDeviceId, row: DeviceRow, stored: Option<Seen>) -> Device {
        let fresh = self.seen.lock().get(&user).and_then(|devices| devices.get(&device_id)).copied();
        let seen = fresh.or(stored);
        Device {
            device_id,
            display_name: row.display_name,
            created_ts: row.created_ts,
            last_seen_ts: seen.map(|seen| seen.ts),
            last_seen_ip: seen.map(|seen| seen.ip),
        }
    }

    /// Renames a device, or takes its name.
    ///
    /// # Errors
    /// [`UsersError::DeviceNotFound`], [`UsersError::TooLarge`] and those of the store.
    pub async fn rename(&self, user: UserNum, device: &DeviceId, display_name: Option<String>) -> Result<()> {
        check_display_name(display_name.as_deref())?;
        let lock = self.core.lock(user).await;
        let key = (user, device.as_str().to_owned());
        let Json(row) = self.core.db.get(&DEVICES, &key).await?.ok_or(UsersError::DeviceNotFound)?;
        let changed = if row.display_name == display_name { Vec::new() } else { vec![key.1.clone()] };
        let op = DEVICES.put(&key, &Json(DeviceRow { display_name, ..row }));
        self.commit(lock, user, DeviceOps { ops: vec![op], changed, ..DeviceOps::default() }).await
    }

    /// Deletes devices and, in the same commit, their tokens, keys, the messages for them, and what hooks add. Unknown ones are passed over.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete(&self, user: UserNum, devices: &[OwnedDeviceId]) -> Result<()> {
        let lock = self.core.lock(user).await;
        let ops = self.deletion(user, devices).await?;
        self.commit(lock, user, ops).await
    }

    /// Deletes all devices of a user, but perhaps one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete_all(&self, user: UserNum, except: Option<&DeviceId>) -> Result<()> {
        let lock = self.core.lock(user).await;
        let ops = self.deletion_of_all(user, except).await?;
        self.commit(lock, user, ops).await
    }

    /// Logs all devices of a user out and keeps them: clients are told to log in again
    /// ([soft logout](https://spec.matrix.org/v1.19/client-server-api/#soft-logout)), and have their keys when they do.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn log_out_softly(&self, user: UserNum) -> Result<()> {
        let lock = self.core.lock(user).await;
        let mut out = DeviceOps::default();
        for ((_, id), _) in self.core.db.scan_all(&DEVICES, &user).await? {
            self.tokens.end_of_device(user, &OwnedDeviceId::from(id), &mut out).await?;
        }
        self.commit(lock, user, out).await
    }

    /// Deletes the devices of a user with which nobody is logged in.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete_logged_out(&self, user: UserNum) -> Result<()> {
        let lock = self.core.lock(user).await;
        let mut ended = Vec::new();
        for ((_, id), _) in self.core.db.scan_all(&DEVICES, &user).await? {
            let id = OwnedDeviceId::from(id);
            if !self.tokens.is_live(user, &id).await? {
                ended.push(id);
            }
        }
        let ops = self.deletion(user, &ended).await?;
        self.commit(lock, user, ops).await
    }

    pub(crate) async fn deletion_of_all(&self, user: UserNum, except: Option<&DeviceId>) -> Result<DeviceOps> {
        let rows = self.core.db.scan_all(&DEVICES, &user).await?;
        let ids = rows.into_iter().map(|((_, id), _)| OwnedDeviceId::from(id));
        let devices: Vec<_> = ids.filter(|id| Some(&**id) != except).collect();
        self.deletion(user, &devices).await
    }

    async fn deletion(&self, user: UserNum, devices: &[OwnedDeviceId]) -> Result<DeviceOps> {
        let mut out = DeviceOps::default();
        let hooks = self.hooks.read().clone();
        for device in devices {
            let key = (user, device.as_str().to_owned());
            if self.core.db.get(&DEVICES, &key).await?.is_none() {
                continue;
            }
            out.ops.extend([DEVICES.delete(&key), DEVICE_SEEN.delete(&key)]);
            out.ops.extend(deletion_of_device(user, device.as_str()));
            out.ops.push(DELAYED_TXNS.delete_prefix(&(user, key.1.clone())));
            out.changed.push(key.1.clone());
            self.tokens.delete_of_device(user, device, &mut out).await?;
            for prefix in LOCAL_SETTINGS {
                out.settings.extend(self.account_data.removal(user, format!("{prefix}{device}")).await?);
            }
            for hook in &hooks {
                out.ops.extend(hook(user, device).await?);
            }
            if let Some(seen) = self.seen.lock().get_mut(&user) {
                seen.remove(device);
            }
        }
        Ok(out)
    }

    /// Holds a user's devices as they are, from reading what others keep about one to [`Devices::commit_held`].
    ///
    /// # Errors
    /// [`UsersError::DeviceNotFound`] where there is no such device of the user; where none is named, none is asked for.
    pub async fn hold(&self, user: UserNum, device: Option<&DeviceId>) -> Result<HeldUser> {
        let lock = self.core.lock(user).await;
        if let Some(device) = device
            && self.core.db.get(&DEVICES, &(user, device.as_str().to_owned())).await?.is_none()
        {
            return Err(UsersError::DeviceNotFound);
        }
        Ok(HeldUser { user, lock })
    }

    /// Commits what others keep about a device, with a stream position of its own, which is given back.
    ///
    /// # Errors
    /// See [`store::CommitError`].
    pub async fn commit_held(&self, held: HeldUser, build: impl FnOnce(Pos, &mut DbWrite<'_>)) -> Result<Pos> {
        Ok(self.core.commit_at(held.lock, 1, build, |_| ()).await?)
    }

    /// Notes that a device was heard of now. In memory only: it reaches the disk with the next write about the user's
    /// devices, or with [`Devices::flush`].
    pub fn seen(&self, user: UserNum, device: &DeviceId, ip: IpAddr) {
        let seen = Seen { ts: self.core.clock.now_ms(), ip };
        let mut all = self.seen.lock();
        let devices = all.entry(user).or_default();
        match devices.get_mut(device) {
            Some(old) => *old = seen,
            None => {
                devices.insert(device.to_owned(), seen);
            }
        }
    }

    /// Writes down when devices were last seen; at shutdown, and every now and then.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn flush(&self) -> Result<()> {
        let users: Vec<UserNum> = self.seen.lock().keys().copied().collect();
        for user in users {
            let _lock = self.core.lock(user).await;
            let (mut write, mut ops) = (self.core.db.write(), Vec::new());
            self.add_seen(user, &mut ops).await?;
            write.ops(ops);
            // Queued under the lock, so it lands before any later deletion; nobody waits for it.
            drop(write.enqueue());
        }
        // A commit queued last is durable last.
        Ok(self.core.db.write().commit().await?)
    }

    /// Adds what was seen of a user's devices to a write under the user's lock.
    async fn add_seen(&self, user: UserNum, ops: &mut Vec<Op>) -> Result<()> {
        let Some(devices) = self.seen.lock().remove(&user) else {
            return Ok(());
        };
        for (device, seen) in devices {
            let key = (user, String::from(device));
            // A request that was under way may have been noted after its device was deleted.
            if self.core.db.get(&DEVICES, &key).await?.is_some() {
                ops.push(DEVICE_SEEN.put(&key, &Json(seen)));
            }
        }
        Ok(())
    }
}

fn check_id(id: &str) -> Result<()> {
    if id.is_empty() || id.len() > MAX_ID {
        return Err(UsersError::InvalidId("the device id"));
    }
    Ok(())
}

fn check_display_name(name: Option<&str>) -> Result<()> {
    match name {
        Some(name) if name.len() > MAX_DISPLAY_NAME => {
            Err(UsersError::TooLarge { what: "the device's display name", limit: MAX_DISPLAY_NAME })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
