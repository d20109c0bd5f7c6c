//! Who somebody is at a provider, and which account here that is. Nothing but (issuer, subject) decides it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{Commit, CommitError, Db, Json, Keyspace, Page, Table};
use users::{Result, UserNum};

/// (issuer, subject).
pub(crate) type Identity = (String, String);

// This crate has bytes 96 to 103 of the keyspace Index; 96 are registration tokens.
const IDENTITIES: Table<Identity, Json<IdentityRow>> = Table::new(Keyspace::Index, 97, "identities");
const USER_IDENTITIES: Table<(UserNum, String, String), ()> = Table::new(Keyspace::Index, 98, "user_identities");
const GRANTS: Table<Identity, Json<Grant>> = Table::new(Keyspace::Index, 99, "upstream_grants");
/// Grants by when they are looked at next, in Unix milliseconds.
const GRANTS_DUE: Table<(u64, String, String), ()> = Table::new(Keyspace::Index, 100, "upstream_grants_due");

/// How often a write is tried again where somebody else changed the row first.
const TRIES: usize = 8;

/// An account that somebody logs in to through a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdentityRow {
    pub(crate) user: UserNum,
    created_ts: u64,
    /// ID tokens from before count no more, in Unix milliseconds: the provider ended what they came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_ts: Option<u64>,
}

/// A provider's refresh token, by which it is asked whether somebody's account there still stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) user: UserNum,
    /// The token, encrypted.
    pub(crate) sealed: String,
    /// When it is looked at next, in Unix milliseconds.
    due_ts: u64,
    /// The provider does not take it any more: sessions are being ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ended: bool,
}

/// The tables of identities.
#[derive(Debug)]
pub(crate) struct Identities {
    db: Arc<Db>,
}

impl Identities {
    pub(crate) fn new(db: Arc<Db>) -> Self {
        Self { db }
    }

    pub(crate) async fn find(&self, identity: &Identity) -> Result<Option<IdentityRow>> {
        Ok(self.db.get(&IDENTITIES, identity).await?.map(|Json(row)| row))
    }

    /// What makes an identity that of a new account, for the commit that creates the account. It is in conflict where the
    /// identity has an account already.
    pub(crate) fn link(identity: &Identity, user: UserNum, now_ms: u64) -> Commit {
        let (issuer, subject) = identity;
        let row = IdentityRow { user, created_ts: now_ms, ended_ts: None };
        Commit {
            preconditions: vec![IDENTITIES.absent(identity)],
            ops: vec![
                IDENTITIES.put(identity, &Json(row)),
                USER_IDENTITIES.put(&(user, issuer.clone(), subject.clone()), &()),
            ],
        }
    }

    /// Keeps a refresh token, in place of an older one, and has it looked at `due_ts`.
    pub(crate) async fn keep_grant(
        &self,
        identity: &Identity,
        user: UserNum,
        sealed: String,
        due_ts: u64,
    ) -> Result<()> {
        for _ in 0..TRIES {
            let old = self.grant(identity).await?;
            let new = Grant { user, sealed: sealed.clone(), due_ts, ended: false };
            if self.replace(identity, old, Some(new)).await? {
                return Ok(());
            }
        }
        Err(CommitError::Conflict.into())
    }

    pub(crate) async fn grant(&self, identity: &Identity) -> Result<Option<Grant>> {
        Ok(self.db.get(&GRANTS, identity).await?.map(|Json(row)| row))
    }

    /// Up to `limit` grants that are to be looked at by now.
    pub(crate) async fn due(&self, now_ms: u64, limit: usize) -> Result<Vec<Identity>> {
        let to = now_ms.saturating_add(1);
        let rows = self.db.scan(&GRANTS_DUE, &(), &to, Page::first(limit)).await?;
        Ok(rows.into_iter().map(|((_, issuer, subject), ())| (issuer, subject)).collect())
    }

    /// A grant that still stands, perhaps with a new token. Whether it was as it was read.
    pub(crate) async fn renew(
        &self,
        identity: &Identity,
        old: Grant,
        sealed: Option<String>,
        due_ts: u64,
    ) -> Result<bool> {
        let new = Grant { sealed: sealed.unwrap_or_else(|| old.sealed.clone()), due_ts, ..old.clone() };
        self.replace(identity, Some(old), Some(new)).await
    }

    /// Marks a grant that the provider takes no more, in one commit with the mark on the identity. Whether it was as it
    /// was read.
    pub(crate) async fn end(&self, identity: &Identity, old: Grant, now_ms: u64, due_ts: u64) -> Result<bool> {
        let mut write = self.db.write();
        if let Some(row) = self.find(identity).await? {
            write.put(&IDENTITIES, identity, &Json(IdentityRow { ended_ts: Some(now_ms), ..row }));
        }
        let new = Grant { ended: true, due_ts, ..old.clone() };
        Self::add(&mut write, identity, Some(&old), Some(&new));
        done(write.commit().await)
    }

    pub(crate) async fn drop_grant(&self, identity: &Identity, old: Grant) -> Result<bool> {
        self.replace(identity, Some(old), None).await
    }

    pub(crate) async fn of_user(&self, user: UserNum) -> Result<Vec<Identity>> {
        let rows = self.db.scan_all(&USER_IDENTITIES, &user).await?;
        Ok(rows.into_iter().map(|((_, issuer, subject), ())| (issuer, subject)).collect())
    }

    async fn replace(&self, identity: &Identity, old: Option<Grant>, new: Option<Grant>) -> Result<bool> {
        let mut write = self.db.write();
        Self::add(&mut write, identity, old.as_ref(), new.as_ref());
        done(write.commit().await)
    }

    fn add(write: &mut store::DbWrite<'_>, identity: &Identity, old: Option<&Grant>, new: Option<&Grant>) {
        let due = |grant: &Grant| (grant.due_ts, identity.0.clone(), identity.1.clone());
        match old {
            Some(old) => {
                write.require(GRANTS.equals(identity, &Json(old.clone()))).delete(&GRANTS_DUE, &due(old));
            }
            None => {
                write.require(GRANTS.absent(identity));
            }
        }
        match new {
            Some(new) => write.put(&GRANTS, identity, &Json(new.clone())).put(&GRANTS_DUE, &due(new), &()),
            None => write.delete(&GRANTS, identity),
        };
    }
}

fn done(outcome: Result<(), CommitError>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(CommitError::Conflict) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
