//! Tokens by which a third party learns who a user is, and nothing else.
//! [OpenID](https://spec.matrix.org/v1.19/client-server-api/#openid).

use std::sync::Arc;

use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};
use store::{Json, Page};

use crate::{
    core::Core,
    error::{Result, UsersError},
    hash::Hash,
    tables::{ACCOUNTS, OPENID_ENDS, OPENID_TOKENS, UserNum},
};

/// How long a token is good for, in milliseconds.
pub const OPENID_LIFETIME_MS: u64 = 3_600_000;
/// Expired tokens removed whenever one is issued: more than one, so that they do not pile up.
const SWEEP: usize = 8;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OpenIdRow {
    user: UserNum,
    expires_ts: u64,
}

/// The OpenID tokens of local users.
#[derive(Debug)]
pub struct OpenIdTokens {
    core: Arc<Core>,
}

impl OpenIdTokens {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Keeps a token of a user for [`OPENID_LIFETIME_MS`].
    ///
    /// # Errors
    /// Those of the store.
    pub async fn issue(&self, user: UserNum, token: &str) -> Result<()> {
        let hash = Hash::of(token.as_bytes());
        let now = self.core.clock.now_ms();
        let expires_ts = now.saturating_add(OPENID_LIFETIME_MS);
        let expired = self.core.db.scan(&OPENID_ENDS, &(), &now, Page::first(SWEEP)).await?;
        let mut write = self.core.db.write();
        for (key, ()) in expired {
            write.delete(&OPENID_TOKENS, &key.1).delete(&OPENID_ENDS, &key);
        }
        write.put(&OPENID_TOKENS, &hash, &Json(OpenIdRow { user, expires_ts }));
        write.put(&OPENID_ENDS, &(expires_ts, hash), &());
        Ok(write.commit().await?)
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// [`UsersError::UnknownToken`], also where the account was closed since, [`UsersError::ExpiredToken`] and those of the store.
    pub async fn user_of(&self, token: &str) -> Result<OwnedUserId> {
        let row = self.core.db.get(&OPENID_TOKENS, &Hash::of(token.as_bytes())).await?;
        let Json(row) = row.ok_or(UsersError::UnknownToken)?;
        if row.expires_ts <= self.core.clock.now_ms() {
            return Err(UsersError::ExpiredToken);
        }
        let account = self.core.db.get(&ACCOUNTS, &row.user).await?.filter(|Json(account)| !account.deactivated);
        account.map(|Json(account)| account.user_id).ok_or(UsersError::UnknownToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{accounts::NewAccount, testing::Bench};

    #[tokio::test]
    async fn a_token_names_its_user_until_it_expires() {
        let bench = Bench::new();
        let users = bench.users();
        let alice = users.register(NewAccount::user("alice"), None).await.unwrap();
        users.openid.issue(alice.num, "secret").await.unwrap();
        // Also after a restart.
        let users = bench.users();
        assert_eq!(users.openid.user_of("secret").await.unwrap(), alice.user_id);
        assert!(matches!(users.openid.user_of("other").await, Err(UsersError::UnknownToken)));
        bench.clock.advance(OPENID_LIFETIME_MS);
        assert!(matches!(users.openid.user_of("secret").await, Err(UsersError::ExpiredToken)));
        users.openid.issue(alice.num, "second").await.unwrap();
        assert!(matches!(users.openid.user_of("secret").await, Err(UsersError::ExpiredToken)));
        bench.clock.advance(1);
        users.openid.issue(alice.num, "third").await.unwrap();
        assert!(matches!(users.openid.user_of("secret").await, Err(UsersError::UnknownToken)));
    }

    #[tokio::test]
    async fn a_closed_account_has_no_tokens() {
        let users = Bench::new().users();
        let alice = users.register(NewAccount::user("alice"), None).await.unwrap();
        users.openid.issue(alice.num, "secret").await.unwrap();
        users.deactivate(alice.num).await.unwrap();
        assert!(matches!(users.openid.user_of("secret").await, Err(UsersError::UnknownToken)));
    }
}
