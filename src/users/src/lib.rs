//! Local users: accounts, devices, tokens, profiles, account data, filters, push rules, unread counts, presence, and what servers have
//! to do with end-to-end encryption.
//!
//! Everything is keyed by a user's interned number ([`UserNum`]), which is also the key that wakes the user's long
//! polls. Read-modify-writes of a user's rows happen under a lock of that user.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod account_data;
pub mod accounts;
mod core;
pub mod delayed;
pub mod devices;
pub mod encryption;
mod error;
pub mod filters;
mod hash;
mod invites;
pub mod openid;
pub mod presence;
pub mod profile;
pub mod push;
pub mod reports;
mod tables;
#[cfg(test)]
mod testing;
pub mod threads;
pub mod tokens;
pub mod unread;

use std::sync::Arc;

use ruma::{OwnedServerName, UserId};
use store::{Clock, Commit, Db, Ids};

pub use crate::{
    error::{Result, UsersError},
    invites::InviteAnswer,
    tables::{EDUS_OUT, LIST_UPDATES, RoomNum, UserNum},
};

use crate::{
    account_data::AccountData,
    accounts::{Account, Accounts, NewAccount, in_use},
    core::Core,
    delayed::DelayedEvents,
    devices::{Devices, NewDevice},
    encryption::{Backups, CrossSigning, DeviceLists, Keys, RemoteDevices, ToDevice, deletion_of_account},
    filters::Filters,
    openid::OpenIdTokens,
    presence::{Presence, PresenceOptions},
    profile::Profiles,
    push::PushRules,
    reports::Reports,
    threads::ThreadSubscriptions,
    tokens::Tokens,
    unread::Unread,
};

/// How much is kept in memory.
#[derive(Debug, Clone, Copy)]
pub struct UsersOptions {
    /// Sessions whose tokens are answered without a read.
    pub cached_sessions: usize,
    /// Users whose push rules and ignored users are at hand.
    pub cached_users: usize,
    /// How presence is kept.
    pub presence: PresenceOptions,
}

impl Default for UsersOptions {
    fn default() -> Self {
        Self { cached_sessions: 50_000, cached_users: 10_000, presence: PresenceOptions::default() }
    }
}

/// All about local users.
#[derive(Debug)]
pub struct Users {
    core: Arc<Core>,
    /// Names, passwords, flags.
    pub accounts: Accounts,
    /// Log-ins.
    pub devices: Devices,
    /// What opens sessions.
    pub tokens: Arc<Tokens>,
    /// Display names, avatars and other fields.
    pub profiles: Profiles,
    /// What clients keep on the server.
    pub account_data: Arc<AccountData>,
    /// Sync filters.
    pub filters: Filters,
    /// Who is told of what.
    pub push_rules: PushRules,
    /// Unread counts.
    pub unread: Unread,
    /// Who is online.
    pub presence: Presence,
    /// Proofs of identity for third parties.
    pub openid: OpenIdTokens,
    /// Keys of devices.
    pub keys: Arc<Keys>,
    /// Keys of users, and signatures.
    pub cross_signing: CrossSigning,
    /// Room keys that clients keep here.
    pub backups: Backups,
    /// Messages from device to device.
    pub to_device: ToDevice,
    /// Whose devices changed.
    pub device_lists: Arc<DeviceLists>,
    /// Devices of remote users.
    pub remote_devices: RemoteDevices,
    /// What users report to the operator.
    pub reports: Reports,
    /// What they send later.
    pub delayed: DelayedEvents,
    /// The threads that they follow.
    pub threads: ThreadSubscriptions,
}

impl Users {
    /// Users of the server `server_name` over a database. `boot_epoch` differs from start to start (a random number, or
    /// the time): it names the presence stream of this run.
    pub fn new(
        db: Arc<Db>,
        ids: Arc<Ids>,
        clock: Arc<dyn Clock>,
        server_name: OwnedServerName,
        boot_epoch: u64,
        options: UsersOptions,
    ) -> Arc<Self> {
        let core = Core::new(db, ids, clock, server_name);
        let tokens = Arc::new(Tokens::new(Arc::clone(&core), options.cached_sessions));
        let rules = push::cache(options.cached_users);
        let watcher = push::invalidator(&rules);
        let account_data = Arc::new(AccountData::new(Arc::clone(&core), options.cached_users, watcher));
        let device_lists = Arc::new(DeviceLists::new(Arc::clone(&core)));
        let (lists, shared) = (|| Arc::clone(&device_lists), || Arc::clone(&core));
        let keys = Arc::new(Keys::new(shared(), lists()));
        Arc::new(Self {
            cross_signing: CrossSigning::new(shared(), lists()),
            backups: Backups::new(shared()),
            to_device: ToDevice::new(shared(), lists()),
            remote_devices: RemoteDevices::new(shared(), lists(), Arc::clone(&keys)),
            keys,
            accounts: Accounts::new(Arc::clone(&core)),
            devices: Devices::new(shared(), Arc::clone(&tokens), lists(), Arc::clone(&account_data)),
            device_lists: lists(),
            tokens,
            profiles: Profiles::new(Arc::clone(&core)),
            push_rules: PushRules::new(Arc::clone(&core), Arc::clone(&account_data), rules),
            account_data,
            filters: Filters::new(Arc::clone(&core)),
            unread: Unread::new(Arc::clone(&core)),
            openid: OpenIdTokens::new(Arc::clone(&core)),
            reports: Reports::new(Arc::clone(&core)),
            threads: ThreadSubscriptions::new(Arc::clone(&core), options.cached_users),
            delayed: DelayedEvents::new(Arc::clone(&core)),
            presence: Presence::new(Arc::clone(&core.clock), boot_epoch, options.presence),
            core,
        })
    }

    /// The number of a user, local or remote; given where the user had none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn number(&self, user: &UserId) -> Result<UserNum> {
        self.core.number(user).await
    }

    /// Creates an account and, in the same commit, its first device.
    ///
    /// # Errors
    /// As [`Accounts::create`] and [`Devices::create`].
    pub async fn register(&self, account: NewAccount, device: Option<&NewDevice<'_>>) -> Result<Account> {
        self.register_with(account, device, |_| Commit::default()).await
    }

    /// The same, and in the same commit what `also` makes for the new account's number. Where one of its preconditions does
    /// not hold nothing is created.
    ///
    /// # Errors
    /// As [`Users::register`]; [`UsersError::UserInUse`] also for a precondition of `also`.
    pub async fn register_with(
        &self,
        account: NewAccount,
        device: Option<&NewDevice<'_>>,
        also: impl FnOnce(UserNum) -> Commit,
    ) -> Result<Account> {
        let creation = self.accounts.prepare(account).await?;
        let num = creation.account.num;
        let lock = self.core.lock(num).await;
        let mut write = self.core.db.write();
        write.require(creation.taken).ops(creation.ops).merge(also(num));
        if let Some(device) = device {
            write.ops(self.devices.prepare(num, device).await?.ops);
        }
        self.core.commit(lock, write, || ()).await.map_err(in_use)?;
        Ok(creation.account)
    }

    /// Closes an account for good: flag set, password gone, devices, tokens, keys and backups deleted, in one commit. Leaving rooms and
    /// clearing the profile is the caller's.
    ///
    /// # Errors
    /// [`UsersError::UserNotFound`] and those of the store.
    pub async fn deactivate(&self, user: UserNum) -> Result<()> {
        let lock = self.core.lock(user).await;
        let op = self
            .accounts
            .changed(user, |row| {
                row.deactivated = true;
                row.admin = false;
                row.password_hash = None;
            })
            .await?;
        let mut deletion = self.devices.deletion_of_all(user, None).await?;
        deletion.ops.push(op);
        deletion.ops.extend(deletion_of_account(user));
        deletion.ops.extend(threads::deletion_of_account(user));
        deletion.ops.extend(self.delayed.deletion_of_account(user).await?);
        self.devices.commit(lock, user, deletion).await
    }
}

#[cfg(test)]
mod tests;
