//! Local accounts: names, passwords, flags.

use std::sync::Arc;

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use store::{CommitError, Json, Op, Page, Precondition};

use crate::{
    core::Core,
    error::{Result, UsersError},
    tables::{ACCOUNTS, LOCALPARTS, UserNum},
};

/// A user id's length in bytes, at most (appendices, "User identifiers").
const MAX_USER_ID: usize = 255;

/// Which localparts are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// New accounts: `[a-z0-9._=/+-]`.
    Strict,
    /// What older servers gave out: any visible ASCII but `:`. For imports and application services.
    Historical,
}

/// Who stands behind an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// A person.
    User,
    /// A user of an application service; logs in through it only.
    AppService,
}

/// An account to be created.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// The part of the user id before the server's name.
    pub localpart: String,
    /// What the localpart is checked against.
    pub grammar: Grammar,
    /// Who it is for.
    pub kind: AccountKind,
    /// May use the admin API.
    pub admin: bool,
    /// An opaque text that the crate `auth` made of the password; without one no password opens the account.
    pub password_hash: Option<String>,
}

impl NewAccount {
    /// An ordinary account without a password.
    pub fn user(localpart: impl Into<String>) -> Self {
        Self {
            localpart: localpart.into(),
            grammar: Grammar::Strict,
            kind: AccountKind::User,
            admin: false,
            password_hash: None,
        }
    }
}

/// A local account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The number that all its rows are keyed by.
    pub num: UserNum,
    /// The full user id.
    pub user_id: OwnedUserId,
    /// Who it is for.
    pub kind: AccountKind,
    /// May use the admin API.
    pub admin: bool,
    /// Closed for good: no log-in, and the name stays taken.
    pub deactivated: bool,
    /// Of no use until it is [unlocked](https://spec.matrix.org/v1.19/client-server-api/#account-locking).
    pub locked: bool,
    /// Able to read, and to [little else](https://spec.matrix.org/v1.19/client-server-api/#account-suspension).
    pub suspended: bool,
    /// See [`NewAccount::password_hash`].
    pub password_hash: Option<String>,
    /// When it was created, in Unix milliseconds.
    pub created_ts: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AccountRow {
    pub(crate) user_id: OwnedUserId,
    pub(crate) kind: AccountKind,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) admin: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deactivated: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) locked: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) suspended: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password_hash: Option<String>,
    pub(crate) created_ts: u64,
}

impl AccountRow {
    fn into_account(self, num: UserNum) -> Account {
        let Self { user_id, kind, admin, deactivated, locked, suspended, password_hash, created_ts } = self;
        Account { num, user_id, kind, admin, deactivated, locked, suspended, password_hash, created_ts }
    }
}

/// Rows of an account that is about to be created.
pub(crate) struct Creation {
    pub(crate) account: Account,
    pub(crate) taken: Precondition,
    pub(crate) ops: Vec<Op>,
}

/// The local accounts.
#[derive(Debug, Clone)]
pub struct Accounts {
    core: Arc<Core>,
}

impl Accounts {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Whether a user id belongs to this server.
    pub fn is_local(&self, user: &UserId) -> bool {
        user.server_name() == self.core.server_name
    }

    /// Checks a localpart and completes it to a user id.
    ///
    /// # Errors
    /// [`UsersError::InvalidLocalpart`].
    pub fn user_id(&self, localpart: &str, grammar: Grammar) -> Result<OwnedUserId> {
        let allowed = |byte: u8| match grammar {
            Grammar::Strict => {
                matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'=' | b'/' | b'+' | b'-')
            }
            Grammar::Historical => byte.is_ascii_graphic() && byte != b':',
        };
        if localpart.is_empty() {
            return Err(UsersError::InvalidLocalpart("it is empty"));
        }
        if !localpart.bytes().all(allowed) {
            return Err(UsersError::InvalidLocalpart("it has characters other than a-z, 0-9 and ._=/+-"));
        }
        let user_id = format!("@{localpart}:{}", self.core.server_name);
        if user_id.len() > MAX_USER_ID {
            return Err(UsersError::InvalidLocalpart("the user id would be longer than 255 bytes"));
        }
        UserId::parse(user_id).map_err(|_| UsersError::InvalidLocalpart("it makes no valid user id"))
    }

    /// Whether a localpart could be registered now.
    ///
    /// # Errors
    /// [`UsersError::InvalidLocalpart`] and those of the store.
    pub async fn is_available(&self, localpart: &str, grammar: Grammar) -> Result<bool> {
        self.user_id(localpart, grammar)?;
        Ok(self.find_num(localpart).await?.is_none())
    }

    /// Creates an account, durably. Of two that race for a name one gets [`UsersError::UserInUse`].
    ///
    /// # Errors
    /// [`UsersError::InvalidLocalpart`], [`UsersError::UserInUse`] and those of the store.
    pub async fn create(&self, new: NewAccount) -> Result<Account> {
        let creation = self.prepare(new).await?;
        let mut write = self.core.db.write();
        write.require(creation.taken).ops(creation.ops);
        write.commit().await.map_err(in_use)?;
        Ok(creation.account)
    }

    pub(crate) async fn prepare(&self, new: NewAccount) -> Result<Creation> {
        let user_id = self.user_id(&new.localpart, new.grammar)?;
        let name = new.localpart.to_lowercase();
        if self.core.db.get(&LOCALPARTS, &name).await?.is_some() {
            return Err(UsersError::UserInUse);
        }
        let num = self.core.number(&user_id).await?;
        let row = AccountRow {
            user_id,
            kind: new.kind,
            admin: new.admin,
            deactivated: false,
            locked: false,
            suspended: false,
            password_hash: new.password_hash,
            created_ts: self.core.clock.now_ms(),
        };
        let ops = vec![LOCALPARTS.put(&name, &num), ACCOUNTS.put(&num, &Json(row.clone()))];
        Ok(Creation { account: row.into_account(num), taken: LOCALPARTS.absent(&name), ops })
    }

    async fn find_num(&self, localpart: &str) -> Result<Option<UserNum>> {
        Ok(self.core.db.get(&LOCALPARTS, &localpart.to_lowercase()).await?)
    }

    /// The account with a localpart, whatever its case.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find(&self, localpart: &str) -> Result<Option<Account>> {
        match self.find_num(localpart).await? {
            Some(num) => self.get(num).await,
            None => Ok(None),
        }
    }

    /// The account of a user id; none for users of other servers.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn by_user_id(&self, user: &UserId) -> Result<Option<Account>> {
        if !self.is_local(user) {
            return Ok(None);
        }
        Ok(self.find(user.localpart()).await?.filter(|account| account.user_id == user))
    }

    /// The account of a user number.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, num: UserNum) -> Result<Option<Account>> {
        Ok(self.core.db.get(&ACCOUNTS, &num).await?.map(|Json(row)| row.into_account(num)))
    }

    /// Up to `limit` accounts in the order of their lower-case localparts, behind `after`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<Account>> {
        let from = after.map_or_else(|| LOCALPARTS.prefix(&()), |after| LOCALPARTS.prefix_end(&after.to_lowercase()));
        let rows =
            self.core.db.scan_raw(LOCALPARTS.keyspace, from, LOCALPARTS.prefix_end(&()), Page::first(limit)).await?;
        let nums = rows.into_iter().map(|(_, num)| LOCALPARTS.decode(num)).collect::<Result<Vec<_>, _>>()?;
        let accounts = self.core.db.multi_get(&ACCOUNTS, &nums).await?;
        let found = nums.into_iter().zip(accounts);
        Ok(found.filter_map(|(num, row)| row.map(|Json(row)| row.into_account(num))).collect())
    }

    /// Sets or removes the password.
    ///
    /// # Errors
    /// [`UsersError::UserNotFound`] and those of the store.
    pub async fn set_password_hash(&self, num: UserNum, hash: Option<String>) -> Result<()> {
        self.update(num, |row| row.password_hash = hash).await
    }

    /// Gives or takes the right to use the admin API.
    ///
    /// # Errors
    /// [`UsersError::UserNotFound`] and those of the store.
    pub async fn set_admin(&self, num: UserNum, admin: bool) -> Result<()> {
        self.update(num, |row| row.admin = admin).await
    }

    /// Locks an account, or unlocks it.
    ///
    /// # Errors
    /// [`UsersError::UserNotFound`] and those of the store.
    pub async fn set_locked(&self, num: UserNum, locked: bool) -> Result<()> {
        self.update(num, |row| row.locked = locked).await
    }

    /// Suspends an account, or ends that.
    ///
    /// # Errors
    /// [`UsersError::UserNotFound`] and those of the store.
    pub async fn set_suspended(&self, num: UserNum, suspended: bool) -> Result<()> {
        self.update(num, |row| row.suspended = suspended).await
    }

    async fn update(&self, num: UserNum, change: impl FnOnce(&mut AccountRow)) -> Result<()> {
        let lock = self.core.lock(num).await;
        let op = self.changed(num, change).await?;
        let mut write = self.core.db.write();
        write.op(op);
        Ok(self.core.commit(lock, write, || ()).await?)
    }

    /// The operation that changes an account's row; for use under the user's lock.
    pub(crate) async fn changed(&self, num: UserNum, change: impl FnOnce(&mut AccountRow)) -> Result<Op> {
        let Json(mut row) = self.core.db.get(&ACCOUNTS, &num).await?.ok_or(UsersError::UserNotFound)?;
        change(&mut row);
        Ok(ACCOUNTS.put(&num, &Json(row)))
    }
}

pub(crate) fn in_use(error: CommitError) -> UsersError {
    match error {
        CommitError::Conflict => UsersError::UserInUse,
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use store::Clock;

    #[tokio::test]
    async fn localparts_follow_the_grammar_and_the_length() {
        let users = Bench::new().users();
        let accounts = &users.accounts;
        for good in ["ann", "a.b_c=d/e+f-9", "1"] {
            assert!(accounts.user_id(good, Grammar::Strict).is_ok(), "{good}");
        }
        for bad in ["", "Ann", "a b", "a:b", "ü", "a\n", "a@b"] {
            assert!(accounts.user_id(bad, Grammar::Strict).is_err(), "{bad}");
        }
        assert!(accounts.user_id("Ann!", Grammar::Historical).is_ok());
        assert!(accounts.user_id("a:b", Grammar::Historical).is_err());
        let longest = MAX_USER_ID - "@:example.org".len();
        assert!(accounts.user_id(&"a".repeat(longest), Grammar::Strict).is_ok());
        assert!(accounts.user_id(&"a".repeat(longest + 1), Grammar::Strict).is_err());
    }

    #[tokio::test]
    async fn of_accounts_that_race_for_a_name_one_is_created_and_it_survives_a_restart() {
        let bench = Bench::new();
        let users = bench.users();
        let new = |localpart: &str| NewAccount { grammar: Grammar::Historical, ..NewAccount::user(localpart) };
        let (first, second) = futures::join!(users.accounts.create(new("ann")), users.accounts.create(new("ANN")));
        assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1);
        assert!(matches!(first.and(second), Err(UsersError::UserInUse)));
        drop(users);
        let users = bench.users();
        assert!(matches!(users.accounts.create(new("Ann")).await, Err(UsersError::UserInUse)));
        assert!(!users.accounts.is_available("ann", Grammar::Strict).await.unwrap());
        let account = users.accounts.find("aNN").await.unwrap().unwrap();
        assert_eq!(account.created_ts, bench.clock.now_ms());
        assert_eq!(users.accounts.get(account.num).await.unwrap(), Some(account));
    }

    #[tokio::test]
    async fn a_user_id_in_another_case_is_another_user() {
        let users = Bench::new().users();
        let account = users.accounts.create(NewAccount::user("ann")).await.unwrap();
        assert_eq!(users.accounts.by_user_id(&account.user_id).await.unwrap(), Some(account));
        let shouted = UserId::parse("@ANN:example.org").unwrap();
        assert_eq!(users.accounts.by_user_id(&shouted).await.unwrap(), None);
        let elsewhere = UserId::parse("@ann:elsewhere.org").unwrap();
        assert_eq!(users.accounts.by_user_id(&elsewhere).await.unwrap(), None);
    }

    #[tokio::test]
    async fn accounts_are_listed_in_pages_and_changed_in_place() {
        let users = Bench::new().users();
        for name in ["b", "a", "d", "c", "ab"] {
            users.accounts.create(NewAccount::user(name)).await.unwrap();
        }
        let names = |accounts: Vec<Account>| -> Vec<String> {
            accounts.iter().map(|account| account.user_id.localpart().to_owned()).collect()
        };
        assert_eq!(names(users.accounts.list(None, 3).await.unwrap()), ["a", "ab", "b"]);
        assert_eq!(names(users.accounts.list(Some("a"), 2).await.unwrap()), ["ab", "b"]);
        assert_eq!(names(users.accounts.list(Some("b"), 3).await.unwrap()), ["c", "d"]);
        let num = users.accounts.find("c").await.unwrap().unwrap().num;
        users.accounts.set_admin(num, true).await.unwrap();
        users.accounts.set_password_hash(num, Some("hash".to_owned())).await.unwrap();
        let account = users.accounts.get(num).await.unwrap().unwrap();
        assert!(account.admin && account.password_hash.as_deref() == Some("hash"));
        assert!(matches!(users.accounts.set_admin(999, true).await, Err(UsersError::UserNotFound)));
    }

    #[tokio::test]
    async fn who_is_locked_or_suspended_is_so_after_a_restart() {
        let bench = Bench::new();
        let users = bench.users();
        let num = users.accounts.create(NewAccount::user("ann")).await.unwrap().num;
        let now = async |users: &crate::Users| {
            let account = users.accounts.get(num).await.unwrap().unwrap();
            (account.locked, account.suspended)
        };
        assert_eq!(now(&users).await, (false, false));
        users.accounts.set_locked(num, true).await.unwrap();
        users.accounts.set_suspended(num, true).await.unwrap();
        drop(users);
        let users = bench.users();
        assert_eq!(now(&users).await, (true, true));
        users.accounts.set_locked(num, false).await.unwrap();
        assert_eq!(now(&users).await, (false, true));
        assert!(matches!(users.accounts.set_suspended(999, true).await, Err(UsersError::UserNotFound)));
    }
}
