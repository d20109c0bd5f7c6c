//! Profiles of local users (client-server API, "Profiles").

use std::sync::Arc;

use bytes::Bytes;
use ruma::MxcUri;
use serde_json::{Value, value::RawValue};

use crate::{
    core::{Core, missing},
    error::{Result, UsersError},
    tables::{PROFILES, UserNum},
};

/// A key's length in bytes, at most.
const MAX_KEY: usize = 255;
/// The whole profile's length as JSON, in bytes: it must stay under 64 KiB.
const MAX_PROFILE: usize = 64 * 1024;
/// A display name is sent in every join event of its user.
const MAX_DISPLAY_NAME: usize = 1024;
const MAX_AVATAR_URL: usize = 1024;

/// One field of a profile.
#[derive(Debug, Clone)]
pub struct Field {
    /// The key.
    pub key: String,
    /// The value, any JSON.
    pub value: Box<RawValue>,
}

/// The profiles of local users.
#[derive(Debug, Clone)]
pub struct Profiles {
    core: Arc<Core>,
}

impl Profiles {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// All fields, in the order of their keys.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn all(&self, user: UserNum) -> Result<Vec<Field>> {
        let rows = self.core.db.scan_all(&PROFILES, &user).await?;
        rows.into_iter().map(|((_, key), value)| Ok(Field { key, value: raw(value)? })).collect()
    }

    /// One field.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, user: UserNum, key: &str) -> Result<Option<Box<RawValue>>> {
        if key.len() > MAX_KEY {
            return Ok(None);
        }
        self.core.db.get(&PROFILES, &(user, key.to_owned())).await?.map(raw).transpose()
    }

    /// The display name and the avatar's URL, as they go into membership events.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn names(&self, user: UserNum) -> Result<(Option<String>, Option<String>)> {
        let keys = [(user, "displayname".to_owned()), (user, "avatar_url".to_owned())];
        let values = self.core.db.multi_get(&PROFILES, &keys).await?;
        let mut texts = values.into_iter().map(|value| value.and_then(|value| serde_json::from_slice(&value).ok()));
        Ok((texts.next().flatten(), texts.next().flatten()))
    }

    /// Sets a field. `null`, and an empty text for the display name or the avatar, remove it.
    ///
    /// # Errors
    /// [`UsersError::InvalidProfileKey`], [`UsersError::ProfileKeyTooLarge`], [`UsersError::InvalidProfileValue`],
    /// [`UsersError::ProfileTooLarge`] and those of the store.
    pub async fn set(&self, user: UserNum, key: &str, value: &RawValue) -> Result<()> {
        check_key(key)?;
        let Some(value) = checked(key, value)? else {
            return self.delete(user, key).await;
        };
        let lock = self.core.lock(user).await;
        let mut size = 2 + field_size(key, &value);
        for ((_, other), value) in self.core.db.scan_all(&PROFILES, &user).await? {
            if other != key {
                size += field_size(&other, &value);
            }
        }
        if size >= MAX_PROFILE {
            return Err(UsersError::ProfileTooLarge);
        }
        let mut write = self.core.db.write();
        write.put(&PROFILES, &(user, key.to_owned()), &value);
        Ok(self.core.commit(lock, write, || ()).await?)
    }

    /// Removes a field; no error where there is none.
    ///
    /// # Errors
    /// [`UsersError::InvalidProfileKey`], [`UsersError::ProfileKeyTooLarge`] and those of the store.
    pub async fn delete(&self, user: UserNum, key: &str) -> Result<()> {
        check_key(key)?;
        let lock = self.core.lock(user).await;
        let mut write = self.core.db.write();
        write.delete(&PROFILES, &(user, key.to_owned()));
        Ok(self.core.commit(lock, write, || ()).await?)
    }
}

fn raw(value: Bytes) -> Result<Box<RawValue>> {
    Ok(serde_json::from_slice(&value).map_err(|error| missing(PROFILES.name, error))?)
}

/// `"key":value,`
fn field_size(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + 4
}

/// The value as it is stored; none where it stands for removal.
fn checked(key: &str, value: &RawValue) -> Result<Option<Bytes>> {
    if value.get().len() > MAX_PROFILE {
        return Err(UsersError::ProfileTooLarge);
    }
    // Through a tree: bounds the depth, and leaves no spaces for clients to be billed for.
    let parsed: Value =
        serde_json::from_str(value.get()).map_err(|_| UsersError::InvalidProfileValue("not valid JSON"))?;
    if parsed.is_null() {
        return Ok(None);
    }
    match (key, parsed.as_str()) {
        ("displayname" | "avatar_url", Some("")) => return Ok(None),
        ("displayname", Some(name)) if name.len() > MAX_DISPLAY_NAME => {
            return Err(UsersError::InvalidProfileValue("the display name is longer than 1024 bytes"));
        }
        ("avatar_url", Some(url)) if url.len() > MAX_AVATAR_URL || !<&MxcUri>::from(url).is_valid() => {
            return Err(UsersError::InvalidProfileValue("the avatar is no mxc:// URI"));
        }
        ("displayname" | "avatar_url" | "m.tz", None) => {
            return Err(UsersError::InvalidProfileValue("this field takes a text"));
        }
        _ => {}
    }
    let text = serde_json::to_vec(&parsed).map_err(|_| UsersError::InvalidProfileValue("not valid JSON"))?;
    Ok(Some(Bytes::from(text)))
}

/// `displayname`, `avatar_url`, or the Common Namespaced Identifier Grammar: lower-case letters, digits, `.`, `_` and
/// `-`, a letter first.
fn check_key(key: &str) -> Result<()> {
    if key.len() > MAX_KEY {
        return Err(UsersError::ProfileKeyTooLarge);
    }
    if matches!(key, "displayname" | "avatar_url") {
        return Ok(());
    }
    let letter_first = key.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    if letter_first && key.bytes().all(allowed) { Ok(()) } else { Err(UsersError::InvalidProfileKey) }
}

#[cfg(test)]
mod tests;
