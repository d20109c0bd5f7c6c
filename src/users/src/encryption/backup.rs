//! Room keys that clients keep here, encrypted.
//! [Server-side key backups](https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups).

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{Json, Op, Page};

use super::{MAX_ID, MAX_KEY, Object, rows::BackupRow};
use crate::{
    core::{Core, missing},
    error::{Result, UsersError},
    tables::{BACKUP_KEYS, BACKUPS, UserNum},
};

/// Keys in a backup, at most.
const MAX_KEYS: u64 = 500_000;
/// Versions of a user's backup that were not deleted, at most.
const MAX_VERSIONS: usize = 100;

/// A version of a backup.
#[derive(Debug, Clone)]
pub struct Backup {
    /// Its number.
    pub version: u64,
    /// How its keys are encrypted.
    pub algorithm: String,
    /// What the algorithm needs, a JSON object.
    pub auth_data: Box<RawValue>,
    /// What is in it.
    pub state: BackupState,
}

/// What is in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupState {
    /// Differs whenever keys were changed.
    pub etag: u64,
    /// Keys in it.
    pub count: u64,
}

/// A room key to be kept: the room, the session, and the JSON of the key.
#[derive(Debug, Clone)]
pub struct SessionKey {
    /// The room.
    pub room_id: String,
    /// The session.
    pub session_id: String,
    /// The key with what is known of it.
    pub data: Box<RawValue>,
}

/// What decides which of two keys of a session is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Rank {
    first_message_index: u64,
    forwarded_count: u64,
    is_verified: bool,
}

impl Rank {
    /// Whether a key takes the place of another.
    fn beats(self, old: Self) -> bool {
        let order = |rank: Self| (!rank.is_verified, rank.first_message_index, rank.forwarded_count);
        order(self) < order(old)
    }
}

#[derive(Deserialize)]
struct Data {
    #[serde(flatten)]
    rank: Rank,
    session_data: Object,
}

/// Backups of local users.
#[derive(Debug)]
pub struct Backups {
    core: Arc<Core>,
}

impl Backups {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Begins a new version, which is the current one from then on.
    ///
    /// # Errors
    /// [`UsersError::TooLarge`], [`UsersError::NotAnObject`] and those of the store.
    pub async fn create(&self, user: UserNum, algorithm: &str, auth_data: &RawValue) -> Result<u64> {
        check_auth_data(algorithm, auth_data)?;
        let lock = self.core.lock(user).await;
        let rows = self.core.db.scan_prefix(&BACKUPS, &user, Page::last(MAX_VERSIONS)).await?;
        if rows.len() == MAX_VERSIONS && rows.iter().all(|(_, Json(row))| !row.deleted) {
            return Err(UsersError::TooLarge { what: "the number of backups", limit: MAX_VERSIONS });
        }
        let version = rows.first().map_or(1, |((_, last), _)| last + 1);
        let (algorithm, auth_data) = (algorithm.to_owned(), auth_data.to_owned());
        let row = BackupRow { algorithm, auth_data, etag: 0, count: 0, deleted: false };
        let mut write = self.core.db.write();
        write.put(&BACKUPS, &(user, version), &Json(row));
        self.core.commit(lock, write, || ()).await?;
        Ok(version)
    }

    /// A version, or the current one.
    ///
    /// # Errors
    /// [`UsersError::NoBackup`] and those of the store.
    pub async fn get(&self, user: UserNum, version: Option<u64>) -> Result<Backup> {
        let (version, row) = match version {
            Some(version) => (version, self.row(user, version).await?),
            None => self.current(user).await?.ok_or(UsersError::NoBackup("backup"))?,
        };
        let state = BackupState { etag: row.etag, count: row.count };
        Ok(Backup { version, algorithm: row.algorithm, auth_data: row.auth_data, state })
    }

    /// Changes what the algorithm needs; the algorithm stays.
    ///
    /// # Errors
    /// [`UsersError::NoBackup`], [`UsersError::BackupMismatch`], [`UsersError::NotAnObject`] and those of the store.
    pub async fn update(&self, user: UserNum, version: u64, algorithm: &str, auth_data: &RawValue) -> Result<()> {
        check_auth_data(algorithm, auth_data)?;
        let lock = self.core.lock(user).await;
        let row = self.row(user, version).await?;
        if row.algorithm != algorithm {
            return Err(UsersError::BackupMismatch("algorithm"));
        }
        let mut write = self.core.db.write();
        write.put(&BACKUPS, &(user, version), &Json(BackupRow { auth_data: auth_data.to_owned(), ..row }));
        Ok(self.core.commit(lock, write, || ()).await?)
    }

    /// Deletes a version with its keys; nothing happens where that was done before.
    ///
    /// # Errors
    /// [`UsersError::NoBackup`] where there never was such a version, and those of the store.
    pub async fn delete(&self, user: UserNum, version: u64) -> Result<()> {
        let lock = self.core.lock(user).await;
        let row = self.core.db.get(&BACKUPS, &(user, version)).await?;
        let Json(row) = row.ok_or(UsersError::NoBackup("backup"))?;
        if row.deleted {
            return Ok(());
        }
        let mut write = self.core.db.write();
        write.put(&BACKUPS, &(user, version), &Json(BackupRow { deleted: true, count: 0, ..row }));
        write.op(BACKUP_KEYS.delete_prefix(&(user, version)));
        Ok(self.core.commit(lock, write, || ()).await?)
    }

    /// Keeps keys in the current version, those that are better than what is there.
    /// [Storing keys](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomidsessionid).
    ///
    /// # Errors
    /// [`UsersError::NoBackup`], [`UsersError::WrongBackupVersion`], [`UsersError::BadKey`], [`UsersError::TooLarge`] and those of the
    /// store.
    pub async fn put(&self, user: UserNum, version: u64, keys: &[SessionKey]) -> Result<BackupState> {
        let ranks = keys.iter().map(checked).collect::<Result<Vec<Rank>>>()?;
        let lock = self.core.lock(user).await;
        let (current, mut row) = self.current(user).await?.ok_or(UsersError::NoBackup("backup"))?;
        if current != version {
            return Err(UsersError::WrongBackupVersion { current });
        }
        let places: Vec<_> =
            keys.iter().map(|key| (user, version, key.room_id.clone(), key.session_id.clone())).collect();
        let there = self.core.db.multi_get(&BACKUP_KEYS, &places).await?;
        let mut ops = Vec::new();
        for (((key, rank), place), old) in keys.iter().zip(ranks).zip(&places).zip(there) {
            let old_rank = old.map(|old| rank_of(&old)).transpose()?;
            if old_rank.is_none_or(|old| rank.beats(old)) {
                row.count += u64::from(old_rank.is_none());
                ops.push(BACKUP_KEYS.put(place, &Bytes::copy_from_slice(key.data.get().as_bytes())));
            }
        }
        if row.count > MAX_KEYS {
            return Err(UsersError::TooLarge { what: "the number of keys", limit: MAX_KEYS as usize });
        }
        self.changed(lock, user, version, row, ops).await
    }

    /// The keys of a version: of a session, of a room, or all of them.
    ///
    /// # Errors
    /// [`UsersError::NoBackup`] and those of the store.
    pub async fn keys(
        &self,
        user: UserNum,
        version: u64,
        room_id: Option<&str>,
        session_id: Option<&str>,
    ) -> Result<Vec<SessionKey>> {
        self.row(user, version).await?;
        let rows = match (room_id, session_id) {
            (Some(room), Some(session)) => {
                let place = (user, version, room.to_owned(), session.to_owned());
                self.core.db.get(&BACKUP_KEYS, &place).await?.map(|data| (place, data)).into_iter().collect()
            }
            (Some(room), None) => self.core.db.scan_all(&BACKUP_KEYS, &(user, version, room.to_owned())).await?,
            (None, _) => self.core.db.scan_all(&BACKUP_KEYS, &(user, version)).await?,
        };
        rows.into_iter()
            .map(|((_, _, room_id, session_id), data)| {
                let data = serde_json::from_slice(&data).map_err(|error| missing(BACKUP_KEYS.name, error))?;
                Ok(SessionKey { room_id, session_id, data })
            })
            .collect()
    }

    /// Deletes keys of a version: of a session, of a room, or all of them.
    ///
    /// # Errors
    /// [`UsersError::NoBackup`] and those of the store.
    pub async fn delete_keys(
        &self,
        user: UserNum,
        version: u64,
        room_id: Option<&str>,
        session_id: Option<&str>,
    ) -> Result<BackupState> {
        let lock = self.core.lock(user).await;
        let mut row = self.row(user, version).await?;
        let keys = self.keys(user, version, room_id, session_id).await?;
        row.count = row.count.saturating_sub(keys.len() as u64);
        let ops =
            keys.into_iter().map(|key| BACKUP_KEYS.delete(&(user, version, key.room_id, key.session_id))).collect();
        self.changed(lock, user, version, row, ops).await
    }

    async fn changed(
        &self,
        lock: crate::core::UserLock,
        user: UserNum,
        version: u64,
        mut row: BackupRow,
        ops: Vec<Op>,
    ) -> Result<BackupState> {
        if !ops.is_empty() {
            row.etag += 1;
        }
        let state = BackupState { etag: row.etag, count: row.count };
        if !ops.is_empty() {
            let mut write = self.core.db.write();
            write.ops(ops).put(&BACKUPS, &(user, version), &Json(row));
            self.core.commit(lock, write, || ()).await?;
        }
        Ok(state)
    }

    async fn row(&self, user: UserNum, version: u64) -> Result<BackupRow> {
        let row = self.core.db.get(&BACKUPS, &(user, version)).await?;
        row.map(|row| row.0).filter(|row| !row.deleted).ok_or(UsersError::NoBackup("backup"))
    }

    async fn current(&self, user: UserNum) -> Result<Option<(u64, BackupRow)>> {
        let mut before = u64::MAX;
        loop {
            let rows = self.core.db.scan(&BACKUPS, &(user, 0u64), &(user, before), Page::last(MAX_VERSIONS)).await?;
            let full = rows.len() == MAX_VERSIONS;
            for ((_, version), Json(row)) in rows {
                if !row.deleted {
                    return Ok(Some((version, row)));
                }
                before = version;
            }
            if !full {
                return Ok(None);
            }
        }
    }
}

fn check_auth_data(algorithm: &str, auth_data: &RawValue) -> Result<()> {
    if algorithm.is_empty() || algorithm.len() > MAX_ID {
        return Err(UsersError::InvalidId("the algorithm"));
    }
    if auth_data.get().len() > MAX_KEY {
        return Err(UsersError::TooLarge { what: "auth_data", limit: MAX_KEY });
    }
    match serde_json::from_str::<serde_json::Value>(auth_data.get()) {
        Ok(value) if value.is_object() => Ok(()),
        _ => Err(UsersError::NotAnObject("auth_data")),
    }
}

fn checked(key: &SessionKey) -> Result<Rank> {
    if key.session_id.is_empty() || key.session_id.len() > MAX_ID || key.room_id.len() > MAX_ID {
        return Err(UsersError::InvalidId("the session id"));
    }
    if key.data.get().len() > MAX_KEY {
        return Err(UsersError::TooLarge { what: "the key", limit: MAX_KEY });
    }
    let Ok(Data { rank, session_data }) = serde_json::from_str::<Data>(key.data.get()) else {
        return Err(UsersError::BadKey(
            "a key needs first_message_index, forwarded_count, is_verified and session_data",
        ));
    };
    if session_data.is_empty() {
        return Err(UsersError::BadKey("a key needs session_data"));
    }
    Ok(rank)
}

fn rank_of(data: &[u8]) -> Result<Rank> {
    Ok(serde_json::from_slice(data).map_err(|error| missing(BACKUP_KEYS.name, error))?)
}
