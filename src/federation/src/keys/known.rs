//! What is known of servers' keys: rows of the store, and those of servers met of late in memory.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{OwnedServerName, ServerName, serde::Base64};
use serde::{Deserialize, Serialize};
use store::{CommitError, Db, Json, Keyspace, Op, Page, StoreError, Table};

use crate::keys::{response::KeyResponse, strangers::Strangers};

/// Bytes 64 to 69 of [`Keyspace::Index`] are those of federation. Every key that was ever seen: (server, key id).
const KEYS: Table<(String, String), Json<KnownKey>> = Table::new(Keyspace::Index, 64, "server_keys");
/// A server's newest answer about its keys, which this server passes on as a notary.
const ANSWERS: Table<String, Json<Answer>> = Table::new(Keyspace::Index, 65, "server_key_answers");

/// The keys of one server that are kept. One that has had more is not believed another.
pub(super) const MAX_KEYS: usize = 256;
/// The same where it is a stranger, and the bytes of its answer that is kept.
const MAX_KEYS_OF_STRANGER: usize = 32;
const MAX_ANSWER_OF_STRANGER: usize = 4096;

/// A public key and when it may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownKey {
    /// The ed25519 public key.
    pub(super) key: Base64,
    /// Until when it is in use as far as is known, in milliseconds since the Unix epoch.
    pub(super) valid_until: u64,
    /// When it went out of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expired: Option<u64>,
}

impl KnownKey {
    /// Whether what was signed at `at` may be signed with it; `None` asks for no time.
    pub(super) fn is_valid(&self, at: Option<u64>) -> bool {
        at.is_none_or(|at| at <= self.expired.unwrap_or(self.valid_until))
    }
}

/// What a server answered when asked for its keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The JSON as it came.
    pub(super) json: String,
    /// Its `valid_until_ts`, at most seven days after it was fetched.
    pub(super) valid_until: u64,
}

/// The keys of one server, by their ids.
pub(super) type ServerKeys = BTreeMap<String, KnownKey>;

pub(super) async fn load(db: &Db, server: &ServerName) -> Result<ServerKeys, StoreError> {
    let rows = db.scan_prefix(&KEYS, &server.as_str().to_owned(), Page::first(MAX_KEYS)).await?;
    Ok(rows.into_iter().map(|((_, id), Json(key))| (id, key)).collect())
}

pub(super) async fn load_answer(db: &Db, server: &ServerName) -> Result<Option<Answer>, StoreError> {
    Ok(db.get(&ANSWERS, &server.as_str().to_owned()).await?.map(|Json(answer)| answer))
}

/// The keys of `known` with what an answer says of them. What is known is never forgotten. A notary cannot put another key in the
/// place of one that is known.
pub(super) fn merge(known: &ServerKeys, response: &KeyResponse, direct: bool) -> ServerKeys {
    let mut merged = known.clone();
    for (id, fresh) in &response.keys {
        let room = merged.len() < MAX_KEYS;
        match merged.get_mut(id) {
            Some(old) if old.key == fresh.key => {
                old.valid_until = old.valid_until.max(fresh.valid_until);
                // A key that went out of use does not come back by an answer from before that.
                old.expired = match (old.expired, fresh.expired) {
                    (Some(old), Some(fresh)) => Some(old.min(fresh)),
                    (old, fresh) => old.or(fresh),
                };
            }
            Some(old) if direct => *old = fresh.clone(),
            Some(_) => {}
            None if room => {
                merged.insert(id.clone(), fresh.clone());
            }
            None => {}
        }
    }
    merged
}

/// Why keys are not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Writes what is new: of a stranger, who is met at `stranger` (in milliseconds), a little.
pub(super) async fn save(
    db: &Db,
    server: &OwnedServerName,
    before: &ServerKeys,
    after: &Arc<ServerKeys>,
    answer: Option<Answer>,
    stranger: Option<u64>,
) -> Result<(), CommitError> {
    let (keys, bytes) = match stranger {
        Some(_) => (MAX_KEYS_OF_STRANGER, MAX_ANSWER_OF_STRANGER),
        None => (MAX_KEYS, usize::MAX),
    };
    let mut write = db.write();
    for (id, key) in after.iter().take(keys).filter(|(id, key)| before.get(*id) != Some(*key)) {
        write.put(&KEYS, &(server.to_string(), id.clone()), &Json(key.clone()));
    }
    if let Some(answer) = answer.filter(|answer| answer.json.len() <= bytes) {
        write.put(&ANSWERS, &server.to_string(), &Json(answer));
    }
    if let Some(now) = stranger.filter(|_| before.is_empty()) {
        Strangers::note(&mut write, server, now);
    }
    write.commit().await
}

/// The operations that remove what is known of a server.
pub(super) fn removal(server: &str) -> [Op; 2] {
    [KEYS.delete_prefix(&server.to_owned()), ANSWERS.delete(&server.to_owned())]
}
