//! Keys of devices. [Key algorithms](https://spec.matrix.org/v1.19/client-server-api/#key-algorithms).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{DeviceId, UserId};
use serde_json::{Value, json};
use store::{Json, Op, Page, Pos, WakeKeys};

use super::{
    MAX_ID, MAX_KEY, Object,
    lists::DeviceLists,
    objects::{add_signature, keep_signatures},
    rows::{FallbackRow, KeyCounts},
};
use crate::{
    core::Core,
    error::{Result, UsersError},
    tables::{
        BACKUP_KEYS, BACKUPS, CROSS_SIGNING_KEYS, DEVICE_KEYS, DEVICES, FALLBACK_KEYS, INBOX, INBOX_SIZES, KEY_COUNTS,
        ONE_TIME_KEYS, SIGNATURES, TO_DEVICE_TXN_ORDER, TO_DEVICE_TXNS, UserNum,
    },
};

/// One-time keys of a device, at most.
const MAX_ONE_TIME_KEYS: usize = 1000;
/// Fallback keys of a device, at most: one for each algorithm.
const MAX_FALLBACK_KEYS: usize = 20;
/// Counted even where there are none: clients look for it.
const USUAL_ALGORITHM: &str = "signed_curve25519";

/// What a device publishes.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// Its identity keys.
    pub device_keys: Option<Object>,
    /// One-time keys by `algorithm:id`.
    pub one_time_keys: BTreeMap<String, Value>,
    /// Fallback keys by `algorithm:id`.
    pub fallback_keys: BTreeMap<String, Value>,
}

/// Who looks at keys: sees own signatures, and what is for oneself alone.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'a> {
    /// The user's number.
    pub user: UserNum,
    /// The user's id.
    pub user_id: &'a UserId,
}

/// Keys of a user, with the signatures that a viewer may see.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserKeys {
    /// Identity keys by device.
    pub devices: BTreeMap<String, Object>,
    /// The master key.
    pub master: Option<Object>,
    /// The self-signing key.
    pub self_signing: Option<Object>,
    /// The user-signing key, for the user alone.
    pub user_signing: Option<Object>,
}

/// Keys of local devices.
#[derive(Debug)]
pub struct Keys {
    core: Arc<Core>,
    lists: Arc<DeviceLists>,
}

impl Keys {
    pub(crate) fn new(core: Arc<Core>, lists: Arc<DeviceLists>) -> Self {
        Self { core, lists }
    }

    /// Publishes keys of a device, in one commit. A one-time key that is there already stays where it is.
    ///
    /// # Errors
    /// [`UsersError::BadKey`], [`UsersError::OthersKey`], [`UsersError::KeyExists`], [`UsersError::TooLarge`],
    /// [`UsersError::DeviceNotFound`] and those of the store.
    pub async fn upload(
        &self,
        user: UserNum,
        user_id: &UserId,
        device: &DeviceId,
        upload: Upload,
    ) -> Result<BTreeMap<String, u64>> {
        let device_keys =
            upload.device_keys.map(|keys| checked_device_keys(keys, user_id.as_str(), device.as_str())).transpose()?;
        let one_time = checked_keys(upload.one_time_keys)?;
        let fallback = checked_keys(upload.fallback_keys)?;
        let lock = self.core.lock(user).await;
        let key = (user, device.as_str().to_owned());
        if self.core.db.get(&DEVICES, &key).await?.is_none() {
            return Err(UsersError::DeviceNotFound);
        }
        let mut ops = Vec::new();
        let mut changed = Vec::new();
        if let Some(keys) = device_keys
            && self.core.db.get(&DEVICE_KEYS, &key).await?.is_none_or(|Json(old)| old != keys)
        {
            ops.push(DEVICE_KEYS.put(&key, &Json(keys)));
            changed.push(key.1.clone());
        }
        let mut counts = self.counts(user, device).await?;
        let old_counts = counts.clone();
        self.add_fallback(&key, fallback, &mut counts, &mut ops).await?;
        let fresh = self.fresh_one_time(&key, one_time, &mut counts).await?;
        if fresh.is_empty() && ops.is_empty() {
            return Ok(counts.counts);
        }
        let change = self.lists.change(user, changed, false).await?;
        let (positions, done) = (change.positions() + 1, change.done());
        let answer = counts.counts.clone();
        let build = move |first: Pos, write: &mut store::DbWrite<'_>| {
            write.ops(ops);
            for (algorithm, id, value) in fresh {
                write.put(&ONE_TIME_KEYS, &(key.0, key.1.clone(), algorithm, first, id), &Json(value));
            }
            if counts != old_counts {
                counts.pos = first;
                write.put(&KEY_COUNTS, &key, &Json(counts));
            }
            change.write(first + 1, write);
        };
        self.core.commit_at(lock, positions, build, move |first| done(first + 1)).await?;
        Ok(answer)
    }

    /// Adds the operations that set fallback keys.
    async fn add_fallback(
        &self,
        (user, device): &(UserNum, String),
        fallback: Vec<(String, String, Value)>,
        counts: &mut KeyCounts,
        ops: &mut Vec<Op>,
    ) -> Result<()> {
        if fallback.is_empty() {
            return Ok(());
        }
        let old = self.core.db.scan_all(&FALLBACK_KEYS, &(*user, device.clone())).await?;
        let mut old: BTreeMap<String, FallbackRow> =
            old.into_iter().map(|((_, _, kind), Json(row))| (kind, row)).collect();
        for (algorithm, key_id, key) in fallback {
            let same = old.get(&algorithm).is_some_and(|old| old.key_id == key_id && old.key == key);
            if same {
                continue;
            }
            let row = FallbackRow { key_id, key, used: false };
            ops.push(FALLBACK_KEYS.put(&(*user, device.clone(), algorithm.clone()), &Json(row.clone())));
            counts.unused_fallback.insert(algorithm.clone());
            old.insert(algorithm, row);
        }
        if old.len() > MAX_FALLBACK_KEYS {
            return Err(UsersError::TooLarge { what: "the number of fallback keys", limit: MAX_FALLBACK_KEYS });
        }
        Ok(())
    }

    /// The one-time keys that are not there yet: algorithm, id, key.
    async fn fresh_one_time(
        &self,
        (user, device): &(UserNum, String),
        one_time: Vec<(String, String, Value)>,
        counts: &mut KeyCounts,
    ) -> Result<Vec<(String, String, Value)>> {
        if one_time.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.core.db.scan_all(&ONE_TIME_KEYS, &(*user, device.clone())).await?;
        let there: BTreeMap<(String, String), Value> =
            rows.into_iter().map(|((_, _, algorithm, _, id), Json(value))| ((algorithm, id), value)).collect();
        let mut fresh = Vec::new();
        for (algorithm, id, value) in one_time {
            match there.get(&(algorithm.clone(), id.clone())) {
                Some(old) if *old == value => {}
                Some(_) => return Err(UsersError::KeyExists(format!("{algorithm}:{id}"))),
                None => fresh.push((algorithm, id, value)),
            }
        }
        if there.len() + fresh.len() > MAX_ONE_TIME_KEYS {
            return Err(UsersError::TooLarge { what: "the number of one-time keys", limit: MAX_ONE_TIME_KEYS });
        }
        for (algorithm, _, _) in &fresh {
            *counts.counts.entry(algorithm.clone()).or_default() += 1;
        }
        Ok(fresh)
    }

    /// What is left of a device's one-time and fallback keys.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn counts(&self, user: UserNum, device: &DeviceId) -> Result<KeyCounts> {
        let row = self.core.db.get(&KEY_COUNTS, &(user, device.as_str().to_owned())).await?;
        let mut counts = row.map(|row| row.0).unwrap_or_default();
        counts.counts.entry(USUAL_ALGORITHM.to_owned()).or_default();
        Ok(counts)
    }

    /// Gives away a one-time key of a device, the one that was uploaded first, or else its fallback key: its `algorithm:id` and the
    /// key. A one-time key is given away once.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn claim(&self, user: UserNum, device: &str, algorithm: &str) -> Result<Option<(String, Value)>> {
        let lock = self.core.lock(user).await;
        let kind = (user, device.to_owned(), algorithm.to_owned());
        let first = self.core.db.scan_prefix(&ONE_TIME_KEYS, &kind, Page::first(1)).await?.into_iter().next();
        let mut counts = self.counts(user, <&DeviceId>::from(device)).await?;
        let (op, id, value) = match first {
            Some((key, Json(value))) => {
                if let Some(count) = counts.counts.get_mut(algorithm) {
                    *count = count.saturating_sub(1);
                }
                (ONE_TIME_KEYS.delete(&key), key.4, value)
            }
            None => match self.core.db.get(&FALLBACK_KEYS, &kind).await? {
                None => return Ok(None),
                Some(Json(row)) if row.used => return Ok(Some((format!("{algorithm}:{}", row.key_id), row.key))),
                Some(Json(row)) => {
                    counts.unused_fallback.remove(algorithm);
                    let (id, value) = (row.key_id.clone(), row.key.clone());
                    (FALLBACK_KEYS.put(&kind, &Json(FallbackRow { used: true, ..row })), id, value)
                }
            },
        };
        let counted = (user, device.to_owned());
        let build = move |pos: Pos, write: &mut store::DbWrite<'_>| {
            counts.pos = pos;
            write.op(op).put(&KEY_COUNTS, &counted, &Json(counts)).wake(WakeKeys::one(user));
        };
        self.core.commit_at(lock, 1, build, |_| ()).await?;
        Ok(Some((format!("{algorithm}:{id}"), value)))
    }

    /// The keys of a local user's devices, of some or, where none is named, of all, and the user's cross-signing keys. Without a
    /// viewer as another server sees them.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn of_user(
        &self,
        user: UserNum,
        user_id: &UserId,
        devices: &[String],
        viewer: Option<Viewer<'_>>,
    ) -> Result<UserKeys> {
        let rows = self.core.db.scan_all(&DEVICE_KEYS, &user).await?;
        let names = self.core.db.scan_all(&DEVICES, &user).await?;
        let names: BTreeMap<String, Option<String>> =
            names.into_iter().map(|((_, id), Json(row))| (id, row.display_name().map(ToOwned::to_owned))).collect();
        let mut out = UserKeys::default();
        for ((_, device), Json(mut keys)) in rows {
            if !devices.is_empty() && !devices.contains(&device) {
                continue;
            }
            if let Some(name) = names.get(&device).and_then(Option::as_deref) {
                keys.insert("unsigned".to_owned(), json!({"device_display_name": name}));
            }
            out.devices.insert(device, keys);
        }
        self.add_cross_signing(user, viewer.is_some_and(|viewer| viewer.user == user), &mut out).await?;
        self.sign(user, user_id, viewer, &mut out).await?;
        Ok(out)
    }

    /// Adds the cross-signing keys that are known of a user, the user-signing key where the user asks.
    pub(crate) async fn add_cross_signing(&self, user: UserNum, own: bool, out: &mut UserKeys) -> Result<()> {
        for ((_, kind), Json(key)) in self.core.db.scan_all(&CROSS_SIGNING_KEYS, &user).await? {
            match kind.as_str() {
                "master" => out.master = Some(key),
                "self_signing" => out.self_signing = Some(key),
                "user_signing" if own => out.user_signing = Some(key),
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds the signatures that were uploaded here to keys of a user, as far as a viewer sees them: the user's own, and the viewer's.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn sign(
        &self,
        user: UserNum,
        user_id: &UserId,
        viewer: Option<Viewer<'_>>,
        keys: &mut UserKeys,
    ) -> Result<()> {
        let seen: BTreeSet<&str> =
            viewer.iter().map(|viewer| viewer.user_id.as_str()).chain([user_id.as_str()]).collect();
        let seen: Vec<&str> = seen.into_iter().collect();
        for key in keys.devices.values_mut().chain(keys.master.as_mut()) {
            keep_signatures(key, &seen);
        }
        for ((_, id, signer, key_id), signature) in self.core.db.scan_all(&SIGNATURES, &user).await? {
            let signer = match viewer {
                Some(viewer) if viewer.user == signer => viewer.user_id.as_str(),
                _ if signer == user => user_id.as_str(),
                _ => continue,
            };
            if let Some(keys) = keys.devices.get_mut(&id) {
                add_signature(keys, signer, &key_id, &signature);
            } else if let Some(master) = keys.master.as_mut().filter(|master| key_id_of(master) == Some(id.as_str())) {
                add_signature(master, signer, &key_id, &signature);
            }
        }
        Ok(())
    }
}

/// The id of a cross-signing key: its public part in base64.
pub(crate) fn key_id_of(key: &Object) -> Option<&str> {
    let keys = key.get("keys")?.as_object().filter(|keys| keys.len() == 1)?;
    let (id, value) = keys.iter().next()?;
    let id = id.strip_prefix("ed25519:")?;
    value.as_str().filter(|value| *value == id && !id.is_empty() && id.len() <= MAX_ID)
}

/// The operations that clear away what belongs to a device: keys, and messages for it.
pub(crate) fn deletion_of_device(user: UserNum, device: &str) -> Vec<Op> {
    let key = (user, device.to_owned());
    vec![
        DEVICE_KEYS.delete(&key),
        KEY_COUNTS.delete(&key),
        ONE_TIME_KEYS.delete_prefix(&key),
        FALLBACK_KEYS.delete_prefix(&key),
        SIGNATURES.delete_prefix(&key),
        INBOX.delete_prefix(&key),
        INBOX_SIZES.delete_prefix(&key),
        TO_DEVICE_TXNS.delete_prefix(&key),
        TO_DEVICE_TXN_ORDER.delete_prefix(&key),
    ]
}

/// The operations that clear away what belongs to an account and no device: keys that sign others, signatures on them, and backups.
pub(crate) fn deletion_of_account(user: UserNum) -> Vec<Op> {
    vec![
        CROSS_SIGNING_KEYS.delete_prefix(&user),
        SIGNATURES.delete_prefix(&user),
        BACKUPS.delete_prefix(&user),
        BACKUP_KEYS.delete_prefix(&user),
    ]
}

/// Identity keys as they are kept: without what servers add.
fn checked_device_keys(mut keys: Object, user_id: &str, device: &str) -> Result<Object> {
    keys.remove("unsigned");
    let text = |field: &str| keys.get(field).and_then(Value::as_str);
    let (Some(of), Some(on)) = (text("user_id"), text("device_id")) else {
        return Err(UsersError::BadKey("the device keys need a user_id and a device_id"));
    };
    if of != user_id || on != device {
        return Err(UsersError::OthersKey);
    }
    if !keys.get("algorithms").and_then(Value::as_array).is_some_and(|all| all.iter().all(Value::is_string)) {
        return Err(UsersError::BadKey("the device keys need a list of algorithms"));
    }
    if !keys.get("keys").and_then(Value::as_object).is_some_and(|all| all.values().all(Value::is_string)) {
        return Err(UsersError::BadKey("the device keys need keys"));
    }
    if !keys.get("signatures").and_then(Value::as_object).is_some_and(|all| all.values().all(Value::is_object)) {
        return Err(UsersError::BadKey("the device keys need signatures"));
    }
    check_size(&Value::Object(keys.clone()))?;
    Ok(keys)
}

/// Keys by `algorithm:id`, taken apart.
fn checked_keys(keys: BTreeMap<String, Value>) -> Result<Vec<(String, String, Value)>> {
    let mut out = Vec::with_capacity(keys.len());
    for (name, key) in keys {
        let (algorithm, id) = name.split_once(':').ok_or(UsersError::BadKey("a key's name is algorithm:id"))?;
        if algorithm.is_empty() || id.is_empty() || name.len() > MAX_ID {
            return Err(UsersError::BadKey("a key's name is algorithm:id"));
        }
        if !key.is_string() && !key.is_object() {
            return Err(UsersError::BadKey("a key is a text or an object"));
        }
        check_size(&key)?;
        out.push((algorithm.to_owned(), id.to_owned(), key));
    }
    Ok(out)
}

pub(crate) fn check_size(key: &Value) -> Result<()> {
    if key.to_string().len() > MAX_KEY {
        return Err(UsersError::TooLarge { what: "the key", limit: MAX_KEY });
    }
    Ok(())
}
