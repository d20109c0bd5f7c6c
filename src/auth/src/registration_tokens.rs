//! Tokens that let people register: those of the configuration, and stored ones with uses and an end.

use std::sync::Arc;

use http_kit::Clock;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{CommitError, Db, Json, Keyspace, StoreError, Table};

use crate::config::Secret;

/// Registration tokens by their text. This crate has bytes 96 to 103 of the keyspace Index.
const TOKENS: Table<String, Json<TokenRow>> = Table::new(Keyspace::Index, 96, "registration_tokens");

/// A token's length in characters, at most (client-server API, "Token-authenticated registration").
const MAX_LENGTH: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TokenRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uses_allowed: Option<u32>,
    uses: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_ts: Option<u64>,
}

/// Why a registration token could not be used or stored.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationTokenError {
    /// Unknown, expired or used up.
    #[error("the registration token is not valid")]
    Invalid,
    /// Not 1 to 64 characters of `A-Za-z0-9._~-`.
    #[error("a registration token has 1 to 64 characters of A-Z, a-z, 0-9 and ._~-")]
    Grammar,
    /// There is such a token already.
    #[error("there is such a registration token already")]
    Exists,
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// The tokens that let people register.
#[derive(Debug)]
pub struct RegistrationTokens {
    db: Arc<Db>,
    clock: Clock,
    /// Digests, so that comparing them tells nothing about the tokens.
    configured: Vec<[u8; 32]>,
}

impl RegistrationTokens {
    pub(crate) fn new(db: Arc<Db>, clock: Clock, configured: &[Secret]) -> Self {
        let configured = configured.iter().map(|token| digest(token.reveal())).collect();
        Self { db, clock, configured }
    }

    /// Stores a token for `uses_allowed` accounts (any number, if not given) until `expires_ts`, in Unix milliseconds.
    ///
    /// # Errors
    /// [`RegistrationTokenError::Grammar`], [`RegistrationTokenError::Exists`] and those of the store.
    pub async fn create(
        &self,
        token: &str,
        uses_allowed: Option<u32>,
        expires_ts: Option<u64>,
    ) -> Result<(), RegistrationTokenError> {
        if !well_formed(token) {
            return Err(RegistrationTokenError::Grammar);
        }
        let key = token.to_owned();
        let mut write = self.db.write();
        write.require(TOKENS.absent(&key)).put(&TOKENS, &key, &Json(TokenRow { uses_allowed, uses: 0, expires_ts }));
        match write.commit().await {
            Err(CommitError::Conflict) => Err(RegistrationTokenError::Exists),
            done => Ok(done?),
        }
    }

    /// Removes a stored token.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete(&self, token: &str) -> Result<(), RegistrationTokenError> {
        let mut write = self.db.write();
        write.delete(&TOKENS, &token.to_owned());
        Ok(write.commit().await?)
    }

    /// Whether somebody could register with the token now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_valid(&self, token: &str) -> Result<bool, RegistrationTokenError> {
        if self.is_configured(token) {
            return Ok(true);
        }
        Ok(self.open_row(token).await?.is_some())
    }

    /// Uses a token for one account.
    ///
    /// # Errors
    /// [`RegistrationTokenError::Invalid`] and those of the store.
    pub(crate) async fn consume(&self, token: &str) -> Result<(), RegistrationTokenError> {
        if self.is_configured(token) {
            return Ok(());
        }
        loop {
            let row = self.open_row(token).await?.ok_or(RegistrationTokenError::Invalid)?;
            let used = TokenRow { uses: row.uses.saturating_add(1), ..row.clone() };
            if self.replace(token, row, used).await? {
                return Ok(());
            }
        }
    }

    /// Takes back a use for an account that could not be created.
    pub(crate) async fn give_back(&self, token: &str) -> Result<(), RegistrationTokenError> {
        let key = token.to_owned();
        while let Some(Json(row)) = self.db.get(&TOKENS, &key).await? {
            let back = TokenRow { uses: row.uses.saturating_sub(1), ..row.clone() };
            if self.replace(token, row, back).await? {
                break;
            }
        }
        Ok(())
    }

    fn is_configured(&self, token: &str) -> bool {
        self.configured.contains(&digest(token))
    }

    async fn open_row(&self, token: &str) -> Result<Option<TokenRow>, StoreError> {
        if !well_formed(token) {
            return Ok(None);
        }
        let row = self.db.get(&TOKENS, &token.to_owned()).await?;
        let now = self.clock.now_ms();
        Ok(row.map(|Json(row)| row).filter(|row| {
            row.uses_allowed.is_none_or(|allowed| row.uses < allowed) && row.expires_ts.is_none_or(|end| now < end)
        }))
    }

    /// Whether the row was still as it was read.
    async fn replace(&self, token: &str, old: TokenRow, new: TokenRow) -> Result<bool, CommitError> {
        let key = token.to_owned();
        let mut write = self.db.write();
        write.require(TOKENS.equals(&key, &Json(old))).put(&TOKENS, &key, &Json(new));
        match write.commit().await {
            Ok(()) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn well_formed(token: &str) -> bool {
    (1..=MAX_LENGTH).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
}
