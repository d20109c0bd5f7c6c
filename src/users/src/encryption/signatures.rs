//! Signatures that are uploaded for keys that are there already.
//! [`POST /keys/signatures/upload`](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload).

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};
use serde_json::Value;
use store::{IdKind, Json, Op, Pos, WakeKeys};

use super::{
    Object,
    cross_signing::CrossSigning,
    keys::key_id_of,
    objects::{is_signed, same_but_signatures, signatures_of},
    rows::StreamEntry,
};
use crate::{
    error::{Result, UsersError},
    tables::{CROSS_SIGNING_KEYS, DEVICE_KEYS, DEVICE_LIST_STREAM, SIGNATURES, UserNum},
};

/// Keys that are signed in one upload, and signatures on one of them, at most.
const MAX_SIGNED: usize = 1000;
const MAX_SIGNATURES: usize = 20;

/// Why signatures were not taken: by user and the key's id.
pub type Failures = BTreeMap<OwnedUserId, BTreeMap<String, &'static str>>;

/// A user who signs: their number, id, and the keys they may sign with, by `ed25519:…`.
struct Signer<'a> {
    user: UserNum,
    user_id: &'a UserId,
    keys: BTreeMap<String, String>,
}

/// What is to be written.
#[derive(Default)]
struct Taken {
    ops: Vec<Op>,
    /// Own devices that were signed.
    devices: Vec<String>,
    /// The own master key was signed.
    master: bool,
    /// Other users whose master keys were signed.
    others: Vec<UserNum>,
}

impl CrossSigning {
    /// Takes signatures by a local user: on the keys of own devices, on the own master key, and on those of others. Those that are not
    /// right are left out and named.
    ///
    /// # Errors
    /// [`UsersError::TooLarge`] and those of the store.
    pub async fn upload_signatures(
        &self,
        user: UserNum,
        user_id: &UserId,
        signed: BTreeMap<OwnedUserId, BTreeMap<String, Value>>,
    ) -> Result<Failures> {
        if signed.values().map(BTreeMap::len).sum::<usize>() > MAX_SIGNED {
            return Err(UsersError::TooLarge { what: "the number of signed keys", limit: MAX_SIGNED });
        }
        let lock = self.core.lock(user).await;
        let signer = Signer { user, user_id, keys: self.signing_keys(user).await? };
        let (mut taken, mut failures) = (Taken::default(), Failures::new());
        for (owner, keys) in signed {
            let num = self.core.ids.find(IdKind::User, owner.as_str()).await?;
            for (id, object) in keys {
                let result = match (num, object) {
                    (Some(num), Value::Object(object)) => {
                        self.take(&signer, (num, &owner), &id, &object, &mut taken).await?
                    }
                    _ => Err("there is no such key"),
                };
                if let Err(why) = result {
                    failures.entry(owner.clone()).or_default().insert(id, why);
                }
            }
        }
        if taken.ops.is_empty() {
            return Ok(failures);
        }
        let Taken { ops, devices, master, others } = taken;
        let change = self.lists.change(user, devices, master).await?;
        let (own, done, moved) = (change.positions(), change.done(), self.lists.moved());
        let count = others.len() as u64;
        let build = move |first: Pos, write: &mut store::DbWrite<'_>| {
            write.ops(ops);
            for (pos, other) in (first..).zip(others) {
                write.put(&DEVICE_LIST_STREAM, &pos, &Json(StreamEntry { user: other, viewer: Some(user) }));
            }
            write.wake(WakeKeys::one(user));
            change.write(first + count, write);
        };
        let done = move |first: Pos| {
            if count > 0 {
                moved(first + count - 1);
            }
            done(first + count);
        };
        self.core.commit_at(lock, count + own, build, done).await?;
        Ok(failures)
    }

    /// The keys that a user may sign with: those of devices and the cross-signing keys.
    async fn signing_keys(&self, user: UserNum) -> Result<BTreeMap<String, String>> {
        let mut out = BTreeMap::new();
        for ((_, device), Json(keys)) in self.core.db.scan_all(&DEVICE_KEYS, &user).await? {
            let name = format!("ed25519:{device}");
            if let Some(key) = keys.get("keys").and_then(|keys| keys.get(&name)?.as_str()) {
                out.insert(name, key.to_owned());
            }
        }
        for (_, Json(key)) in self.core.db.scan_all(&CROSS_SIGNING_KEYS, &user).await? {
            if let Some(id) = key_id_of(&key) {
                out.insert(format!("ed25519:{id}"), id.to_owned());
            }
        }
        Ok(out)
    }

    async fn take(
        &self,
        signer: &Signer<'_>,
        (owner, owner_id): (UserNum, &UserId),
        id: &str,
        object: &Object,
        taken: &mut Taken,
    ) -> Result<Result<(), &'static str>> {
        let own = owner == signer.user;
        let device = match own {
            true => self.core.db.get(&DEVICE_KEYS, &(owner, id.to_owned())).await?.map(|row| row.0),
            false => None,
        };
        let is_device = device.is_some();
        let master = self.key(owner, "master").await?.filter(|master| key_id_of(master) == Some(id));
        let Some(known) = device.or(master) else { return Ok(Err("there is no such key")) };
        if owner_id.as_str() != known.get("user_id").and_then(Value::as_str).unwrap_or_default()
            || !same_but_signatures(&known, object)
        {
            return Ok(Err("the key is not the one that is known"));
        }
        let there: BTreeMap<&String, &str> = signatures_of(&known, signer.user_id.as_str()).collect();
        let mut new = false;
        for (key_id, signature) in signatures_of(object, signer.user_id.as_str()).take(MAX_SIGNATURES) {
            if there.get(key_id) == Some(&signature) {
                continue;
            }
            let Some(public) = signer.keys.get(key_id) else { return Ok(Err("the signing key is not known")) };
            if !is_signed(object, public, signature) {
                return Ok(Err("the signature is not right"));
            }
            let place = (owner, id.to_owned(), signer.user, key_id.clone());
            if self.core.db.get(&SIGNATURES, &place).await?.is_none_or(|old| old != signature) {
                taken.ops.push(SIGNATURES.put(&place, &signature.to_owned()));
                new = true;
            }
        }
        match (new, own, is_device) {
            (false, ..) => {}
            (true, false, _) => taken.others.push(owner),
            (true, true, true) => taken.devices.push(id.to_owned()),
            (true, true, false) => taken.master = true,
        }
        Ok(Ok(()))
    }
}
