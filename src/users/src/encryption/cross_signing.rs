//! Keys of users that sign the keys of devices. [Cross-signing](https://spec.matrix.org/v1.19/client-server-api/#cross-signing).

use std::sync::Arc;

use ruma::UserId;
use serde_json::Value;
use store::{Json, Op, Pos};

use super::{
    Object,
    keys::{check_size, key_id_of},
    lists::DeviceLists,
    objects::{is_signed, same_but_signatures, signatures_of},
};
use crate::{
    core::Core,
    error::{Result, UsersError},
    tables::{CROSS_SIGNING_KEYS, DEVICES, SIGNATURES, UserNum},
};

/// Cross-signing keys as they are uploaded.
#[derive(Debug, Clone, Default)]
pub struct CrossSigningKeys {
    /// The key that signs the others.
    pub master: Option<Object>,
    /// The key that signs the user's devices.
    pub self_signing: Option<Object>,
    /// The key that signs other users' master keys.
    pub user_signing: Option<Object>,
}

impl CrossSigningKeys {
    /// The keys with their kinds, the master key first.
    fn by_kind(self) -> impl Iterator<Item = (&'static str, Object)> {
        let all = [("master", self.master), ("self_signing", self.self_signing), ("user_signing", self.user_signing)];
        all.into_iter().filter_map(|(kind, key)| Some((kind, key?)))
    }
}

/// Cross-signing keys of local users, and what was uploaded of signatures.
#[derive(Debug)]
pub struct CrossSigning {
    pub(super) core: Arc<Core>,
    pub(super) lists: Arc<DeviceLists>,
}

impl CrossSigning {
    pub(crate) fn new(core: Arc<Core>, lists: Arc<DeviceLists>) -> Self {
        Self { core, lists }
    }

    pub(super) async fn key(&self, user: UserNum, kind: &str) -> Result<Option<Object>> {
        Ok(self.core.db.get(&CROSS_SIGNING_KEYS, &(user, kind.to_owned())).await?.map(|row| row.0))
    }

    /// Whether who uploads keys has to confirm who they are: not where the user has no master key yet, and not where the keys say
    /// nothing new.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn needs_confirmation(&self, user: UserNum, new: &CrossSigningKeys) -> Result<bool> {
        if self.key(user, "master").await?.is_none() {
            return Ok(false);
        }
        if new.master.is_none() {
            return Ok(true);
        }
        for (kind, key) in new.clone().by_kind() {
            if !self.key(user, kind).await?.is_some_and(|old| same_but_signatures(&old, &key)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Publishes cross-signing keys in one commit. Who may do that is the caller's to say.
    ///
    /// # Errors
    /// [`UsersError::BadKey`], [`UsersError::OthersKey`], [`UsersError::NoMasterKey`], [`UsersError::InvalidSignature`],
    /// [`UsersError::KeyIdInUse`], [`UsersError::TooLarge`] and those of the store.
    pub async fn upload(&self, user: UserNum, user_id: &UserId, new: CrossSigningKeys) -> Result<()> {
        let lock = self.core.lock(user).await;
        let mut ops = Vec::new();
        let mut master = self.key(user, "master").await?;
        for (kind, mut key) in new.by_kind() {
            key.remove("unsigned");
            let id = checked(&key, kind, user_id.as_str())?.to_owned();
            if self.core.db.get(&DEVICES, &(user, id.clone())).await?.is_some() {
                return Err(UsersError::KeyIdInUse);
            }
            if kind != "master" {
                let master = master.as_ref().ok_or(UsersError::NoMasterKey)?;
                check_signed_by(&key, user_id.as_str(), master)?;
            }
            let old = self.key(user, kind).await?;
            if old.as_ref() == Some(&key) {
                continue;
            }
            self.forget_signatures(user, old.as_ref(), &id, &mut ops);
            ops.push(CROSS_SIGNING_KEYS.put(&(user, kind.to_owned()), &Json(key.clone())));
            if kind == "master" {
                master = Some(key);
            }
        }
        if ops.is_empty() {
            return Ok(());
        }
        let change = self.lists.change(user, Vec::new(), true).await?;
        let (positions, done) = (change.positions(), change.done());
        let build = move |first: Pos, write: &mut store::DbWrite<'_>| {
            write.ops(ops);
            change.write(first, write);
        };
        self.core.commit_at(lock, positions, build, done).await?;
        Ok(())
    }

    /// Signatures on a key that another one takes the place of are of no use any more.
    fn forget_signatures(&self, user: UserNum, old: Option<&Object>, id: &str, ops: &mut Vec<Op>) {
        if let Some(old) = old.and_then(key_id_of).filter(|old| *old != id) {
            ops.push(SIGNATURES.delete_prefix(&(user, old.to_owned())));
        }
    }
}

/// The id of a key that is one of the kind and of the user.
pub(super) fn checked<'a>(key: &'a Object, kind: &str, user_id: &str) -> Result<&'a str> {
    if key.get("user_id").and_then(Value::as_str) != Some(user_id) {
        return Err(UsersError::OthersKey);
    }
    let usage = key.get("usage").and_then(Value::as_array);
    if !usage.is_some_and(|usage| usage.iter().any(|usage| usage == kind)) {
        return Err(UsersError::BadKey("the key's usage is not what it is uploaded for"));
    }
    check_size(&Value::Object(key.clone()))?;
    key_id_of(key).ok_or(UsersError::BadKey("a cross-signing key has one ed25519 key, named after itself"))
}

fn check_signed_by(key: &Object, user_id: &str, master: &Object) -> Result<()> {
    let id = key_id_of(master).ok_or(UsersError::NoMasterKey)?;
    let name = format!("ed25519:{id}");
    let signature = signatures_of(key, user_id).find(|(key_id, _)| **key_id == name);
    match signature {
        Some((_, signature)) if is_signed(key, id, signature) => Ok(()),
        _ => Err(UsersError::InvalidSignature),
    }
}
