//! Access, refresh and login tokens. Only their SHA-256 is kept.

use std::sync::Arc;

use quick_cache::sync::Cache;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId};
use serde::{Deserialize, Serialize};
use store::{CommitError, Json, Op, Page};

use crate::{
    core::Core,
    devices::DeviceOps,
    error::{Result, UsersError},
    hash::Hash,
    tables::{DEVICE_TOKENS, LOGIN_TOKEN_ENDS, LOGIN_TOKENS, TOKENS, UserNum},
};

/// Expired login tokens removed when a new one is issued: more than are added, so none pile up.
const SWEEP: usize = 8;

/// Whom an access token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The user.
    pub user_id: OwnedUserId,
    /// The user's number.
    pub num: UserNum,
    /// The device that was logged in.
    pub device_id: OwnedDeviceId,
    /// When the token ends, in Unix milliseconds.
    pub expires_ts: Option<u64>,
}

/// Tokens of a log-in, made by the caller from enough randomness to be unguessable.
#[derive(Debug, Clone, Copy)]
pub struct NewTokens<'a> {
    /// The access token.
    pub access: &'a str,
    /// When the access token ends, in Unix milliseconds; never, if not given.
    pub expires_ts: Option<u64>,
    /// The refresh token, for clients that use one.
    pub refresh: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TokenKind {
    Access,
    Refresh,
    /// What all tokens of one log-in come from, however often they were refreshed.
    Grant,
}

/// What a log-in was granted as, to be told apart from others by its own secret name: it lives as long as the log-in, and dies with the
/// device or when the device is logged in anew.
#[derive(Debug, Clone, Copy)]
pub struct NewGrant<'a> {
    /// Its name, unguessable as a token is.
    pub id: &'a str,
    /// What the caller wants to know of it later.
    pub note: &'a str,
}

/// A grant that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose it is.
    pub user: UserNum,
    /// The device that was logged in.
    pub device_id: OwnedDeviceId,
    /// What was noted.
    pub note: String,
}

/// An access token and the refresh token it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pair {
    access: Hash,
    refresh: Hash,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TokenRow {
    user: UserNum,
    device: OwnedDeviceId,
    kind: TokenKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_ts: Option<u64>,
    /// Of a refresh token: the access token it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access: Option<Hash>,
    /// Of a refresh token that was used: what it was exchanged for. If that answer was lost, it may be used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Pair>,
    /// Of a token got by a refresh and not used yet: the pair that dies when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaces: Option<Pair>,
    /// Of a grant: what its maker noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LoginTokenRow {
    user: UserNum,
    expires_ts: u64,
}

/// The tokens of local users.
pub struct Tokens {
    core: Arc<Core>,
    sessions: Cache<Hash, Arc<Session>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    pub(crate) fn new(core: Arc<Core>, cached_sessions: usize) -> Self {
        Self { core, sessions: Cache::new(cached_sessions) }
    }

    /// Whom an access token speaks for. Answered from memory when asked again.
    ///
    /// # Errors
    /// [`UsersError::UnknownToken`], [`UsersError::ExpiredToken`] and those of the store.
    pub async fn session(&self, token: &str) -> Result<Arc<Session>> {
        let hash = Hash::of(token.as_bytes());
        let session = match self.sessions.get(&hash) {
            Some(session) => session,
            // A deletion meanwhile removes the placeholder, so that what was read before it is not kept.
            None => self.sessions.get_or_insert_async(&hash, self.load(hash)).await?,
        };
        match session.expires_ts {
            Some(end) if end <= self.core.clock.now_ms() => Err(UsersError::ExpiredToken),
            _ => Ok(session),
        }
    }

    async fn load(&self, hash: Hash) -> Result<Arc<Session>> {
        let Json(row) = self.core.db.get(&TOKENS, &hash).await?.ok_or(UsersError::UnknownToken)?;
        if row.kind != TokenKind::Access {
            return Err(UsersError::UnknownToken);
        }
        if let Some(old) = row.replaces {
            self.retire(hash, &row, old).await?;
        }
        let user_id = self.core.user_id(row.user).await?;
        Ok(Arc::new(Session { user_id, num: row.user, device_id: row.device, expires_ts: row.expires_ts }))
    }

    /// The first use of a token got by a refresh ends the pair before it (client-server API, "Refresh tokens").
    async fn retire(&self, hash: Hash, row: &TokenRow, old: Pair) -> Result<()> {
        let mut out = DeviceOps::default();
        delete_pair(row, old, &mut out);
        out.ops.push(TOKENS.put(&hash, &Json(TokenRow { replaces: None, ..row.clone() })));
        let mut write = self.core.db.write();
        write.require(TOKENS.equals(&hash, &Json(row.clone()))).ops(out.ops);
        match write.commit().await {
            // Somebody else changed or deleted it first: look again.
            Err(CommitError::Conflict) => match self.core.db.get(&TOKENS, &hash).await? {
                Some(_) => Ok(()),
                None => Err(UsersError::UnknownToken),
            },
            done => {
                done?;
                self.forget(&out.ended);
                Ok(())
            }
        }
    }

    /// Takes a refresh token and issues new tokens for its device. The old ones live until a new one is used, so that a
    /// lost answer can be asked for again.
    ///
    /// # Errors
    /// [`UsersError::UnknownToken`] and those of the store.
    pub async fn refresh(self: &Arc<Self>, refresh: &str, new: &NewTokens<'_>) -> Result<Session> {
        let hash = Hash::of(refresh.as_bytes());
        let Json(first) = self.core.db.get(&TOKENS, &hash).await?.ok_or(UsersError::UnknownToken)?;
        let lock = self.core.lock(first.user).await;
        let Json(row) = self.core.db.get(&TOKENS, &hash).await?.ok_or(UsersError::UnknownToken)?;
        let (TokenKind::Refresh, Some(access)) = (row.kind, row.access) else {
            return Err(UsersError::UnknownToken);
        };
        let mut out = DeviceOps::default();
        // This token was used, so the pair before it is done with; an earlier answer to it was never used.
        for pair in [row.replaces, row.next].into_iter().flatten() {
            delete_pair(&row, pair, &mut out);
        }
        let old = Pair { access, refresh: hash };
        let next = self.issue(row.user, &row.device, new, new.refresh.map(|_| old), &mut out.ops);
        let mut used = TokenRow { next, replaces: None, ..row.clone() };
        if next.is_none() {
            // Without a successor this refresh token goes on, and the access token is replaced at once.
            delete_token(&row, access, &mut out);
            used.access = Some(Hash::of(new.access.as_bytes()));
        }
        out.ops.push(TOKENS.put(&hash, &Json(used)));
        let user_id = self.core.user_id(row.user).await?;
        let session = Session { user_id, num: row.user, device_id: row.device.clone(), expires_ts: new.expires_ts };
        let mut write = self.core.db.write();
        // The first use of what this token was exchanged for ends it without taking the user's lock.
        write.require(TOKENS.equals(&hash, &Json(row))).ops(out.ops);
        let tokens = Arc::clone(self);
        let ended = out.ended;
        match self.core.commit(lock, write, move || tokens.forget(&ended)).await {
            Err(CommitError::Conflict) => Err(UsersError::UnknownToken),
            done => Ok(done.map(|()| session)?),
        }
    }

    /// Adds the rows of new tokens; the caller holds the user's lock.
    fn add_rows(ops: &mut Vec<Op>, hash: Hash, row: TokenRow) {
        ops.push(DEVICE_TOKENS.put(&(row.user, row.device.as_str().to_owned(), hash), &()));
        ops.push(TOKENS.put(&hash, &Json(row)));
    }

    /// Adds the rows of a log-in's tokens. The pair is returned where there is a refresh token.
    pub(crate) fn issue(
        &self,
        user: UserNum,
        device: &DeviceId,
        new: &NewTokens<'_>,
        replaces: Option<Pair>,
        ops: &mut Vec<Op>,
    ) -> Option<Pair> {
        let access = Hash::of(new.access.as_bytes());
        let row = TokenRow {
            user,
            device: device.to_owned(),
            kind: TokenKind::Access,
            expires_ts: new.expires_ts,
            access: None,
            next: None,
            replaces,
            note: None,
        };
        let refresh = new.refresh.map(|refresh| Hash::of(refresh.as_bytes()));
        if let Some(refresh) = refresh {
            let row = TokenRow { kind: TokenKind::Refresh, expires_ts: None, access: Some(access), ..row.clone() };
            Self::add_rows(ops, refresh, row);
        }
        Self::add_rows(ops, access, row);
        refresh.map(|refresh| Pair { access, refresh })
    }

    /// Adds the row of a log-in's grant; the caller holds the user's lock.
    pub(crate) fn add_grant(user: UserNum, device: &DeviceId, grant: &NewGrant<'_>, ops: &mut Vec<Op>) {
        let row = TokenRow {
            user,
            device: device.to_owned(),
            kind: TokenKind::Grant,
            expires_ts: None,
            access: None,
            next: None,
            replaces: None,
            note: Some(grant.note.to_owned()),
        };
        Self::add_rows(ops, Hash::of(grant.id.as_bytes()), row);
    }

    /// The grant of this name.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn grant(&self, id: &str) -> Result<Option<Grant>> {
        let row = self.core.db.get(&TOKENS, &Hash::of(id.as_bytes())).await?;
        Ok(row.and_then(|Json(row)| grant_of(row)))
    }

    /// The grant by which a device is logged in; none where it was logged in otherwise.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn grant_of(&self, user: UserNum, device: &DeviceId) -> Result<Option<Grant>> {
        let rows = self.core.db.scan_all(&DEVICE_TOKENS, &(user, device.as_str().to_owned())).await?;
        let hashes: Vec<Hash> = rows.into_iter().map(|((_, _, hash), ())| hash).collect();
        let rows = self.core.db.multi_get(&TOKENS, &hashes).await?;
        Ok(rows.into_iter().flatten().find_map(|Json(row)| grant_of(row)))
    }

    /// The device that an access or refresh token belongs to, also where it has expired.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn owner(&self, token: &str) -> Result<Option<(UserNum, OwnedDeviceId)>> {
        let row = self.core.db.get(&TOKENS, &Hash::of(token.as_bytes())).await?;
        Ok(row.filter(|Json(row)| row.kind != TokenKind::Grant).map(|Json(row)| (row.user, row.device)))
    }

    /// Adds the deletion of all tokens of a device; the caller holds the user's lock.
    pub(crate) async fn delete_of_device(&self, user: UserNum, device: &DeviceId, out: &mut DeviceOps) -> Result<()> {
        let prefix = (user, device.as_str().to_owned());
        for ((_, _, hash), ()) in self.core.db.scan_all(&DEVICE_TOKENS, &prefix).await? {
            out.ops.push(TOKENS.delete(&hash));
            out.ended.push(hash);
        }
        out.ops.push(DEVICE_TOKENS.delete_prefix(&prefix));
        Ok(())
    }

    /// Adds the end of all tokens of a device that stays: its access tokens are known as expired, the others are gone. The caller holds
    /// the user's lock.
    pub(crate) async fn end_of_device(&self, user: UserNum, device: &DeviceId, out: &mut DeviceOps) -> Result<()> {
        let now = self.core.clock.now_ms();
        let prefix = (user, device.as_str().to_owned());
        let rows = self.core.db.scan_all(&DEVICE_TOKENS, &prefix).await?;
        let hashes: Vec<Hash> = rows.into_iter().map(|((_, _, hash), ())| hash).collect();
        for (hash, row) in hashes.iter().zip(self.core.db.multi_get(&TOKENS, &hashes).await?) {
            let Some(Json(row)) = row else { continue };
            if row.kind == TokenKind::Access {
                let expires_ts = Some(row.expires_ts.map_or(now, |end| end.min(now)));
                Self::add_rows(&mut out.ops, *hash, TokenRow { expires_ts, replaces: None, ..row });
                out.ended.push(*hash);
            } else {
                delete_token(&row, *hash, out);
            }
        }
        Ok(())
    }

    /// Whether somebody is logged in with a device, or can be by a refresh token that they have.
    pub(crate) async fn is_live(&self, user: UserNum, device: &DeviceId) -> Result<bool> {
        let now = self.core.clock.now_ms();
        let rows = self.core.db.scan_all(&DEVICE_TOKENS, &(user, device.as_str().to_owned())).await?;
        let hashes: Vec<Hash> = rows.into_iter().map(|((_, _, hash), ())| hash).collect();
        let rows = self.core.db.multi_get(&TOKENS, &hashes).await?;
        Ok(rows.into_iter().flatten().any(|Json(row)| match row.kind {
            TokenKind::Access => row.expires_ts.is_none_or(|end| end > now),
            TokenKind::Refresh => true,
            TokenKind::Grant => false,
        }))
    }

    /// Drops sessions from memory once their rows are gone.
    pub(crate) fn forget(&self, hashes: &[Hash]) {
        for hash in hashes {
            self.sessions.remove(hash);
        }
    }

    /// Keeps a login token (`m.login.token`) until `expires_ts`, in Unix milliseconds.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn issue_login(&self, user: UserNum, token: &str, expires_ts: u64) -> Result<()> {
        let hash = Hash::of(token.as_bytes());
        let mut write = self.core.db.write();
        let now = self.core.clock.now_ms();
        let expired = self.core.db.scan(&LOGIN_TOKEN_ENDS, &(), &now, Page::first(SWEEP)).await?;
        for (key, ()) in expired {
            write.delete(&LOGIN_TOKENS, &key.1).delete(&LOGIN_TOKEN_ENDS, &key);
        }
        write.put(&LOGIN_TOKENS, &hash, &Json(LoginTokenRow { user, expires_ts }));
        write.put(&LOGIN_TOKEN_ENDS, &(expires_ts, hash), &());
        Ok(write.commit().await?)
    }

    /// Takes back all login tokens that were given out for a user and not used yet.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget_logins(&self, user: UserNum) -> Result<()> {
        let mut write = self.core.db.write();
        let mut found = false;
        for (hash, Json(row)) in self.core.db.scan_all(&LOGIN_TOKENS, &()).await? {
            if row.user == user {
                write.delete(&LOGIN_TOKENS, &hash).delete(&LOGIN_TOKEN_ENDS, &(row.expires_ts, hash));
                found = true;
            }
        }
        if found { Ok(write.commit().await?) } else { Ok(()) }
    }

    /// Uses up a login token: of two that try at once, one succeeds.
    ///
    /// # Errors
    /// [`UsersError::UnknownToken`], [`UsersError::ExpiredToken`] and those of the store.
    pub async fn use_login(&self, token: &str) -> Result<UserNum> {
        let hash = Hash::of(token.as_bytes());
        let Json(row) = self.core.db.get(&LOGIN_TOKENS, &hash).await?.ok_or(UsersError::UnknownToken)?;
        let mut write = self.core.db.write();
        write.require(LOGIN_TOKENS.equals(&hash, &Json(row.clone())));
        write.delete(&LOGIN_TOKENS, &hash).delete(&LOGIN_TOKEN_ENDS, &(row.expires_ts, hash));
        match write.commit().await {
            Err(CommitError::Conflict) => Err(UsersError::UnknownToken),
            Err(error) => Err(error.into()),
            Ok(()) if row.expires_ts <= self.core.clock.now_ms() => Err(UsersError::ExpiredToken),
            Ok(()) => Ok(row.user),
        }
    }
}

fn grant_of(row: TokenRow) -> Option<Grant> {
    let note = row.note.filter(|_| row.kind == TokenKind::Grant)?;
    Some(Grant { user: row.user, device_id: row.device, note })
}

fn delete_pair(row: &TokenRow, pair: Pair, out: &mut DeviceOps) {
    delete_token(row, pair.access, out);
    delete_token(row, pair.refresh, out);
}

/// Deletes a token of the same device as `row`.
fn delete_token(row: &TokenRow, hash: Hash, out: &mut DeviceOps) {
    out.ops.push(TOKENS.delete(&hash));
    out.ops.push(DEVICE_TOKENS.delete(&(row.user, row.device.as_str().to_owned(), hash)));
    out.ended.push(hash);
}

#[cfg(test)]
mod tests;
