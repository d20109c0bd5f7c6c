//! Users and aliases of this server that are made when somebody asks for them: those of application services.
//! [Querying](https://spec.matrix.org/v1.19/application-service-api/#querying).

use engine::{AliasRow, EngineError};
use futures::future::BoxFuture;
use ruma::{RoomAliasId, UserId};
use users::{UsersError, accounts::Account};

use crate::Federation;

/// Who makes them.
pub trait MadeOnDemand: Send + Sync {
    /// Asks for a local user whom nobody knows. Whether there is one now.
    fn user<'a>(&'a self, user_id: &'a UserId) -> BoxFuture<'a, bool>;

    /// Asks for an alias of this server that nobody knows. Whether there is one now.
    fn alias<'a>(&'a self, alias: &'a RoomAliasId) -> BoxFuture<'a, bool>;
}

impl Federation {
    /// The account of a local user, who may be made now.
    pub(crate) async fn account_or_made(&self, user_id: &UserId) -> Result<Option<Account>, UsersError> {
        let found = self.users.accounts.by_user_id(user_id).await?;
        match self.made.get().filter(|_| found.is_none()) {
            Some(made) if made.user(user_id).await => self.users.accounts.by_user_id(user_id).await,
            _ => Ok(found),
        }
    }

    /// What an alias of this server points at; it may be made now.
    pub(crate) async fn alias_or_made(&self, alias: &RoomAliasId) -> Result<Option<AliasRow>, EngineError> {
        let found = self.engine.alias(alias.as_str()).await?;
        let ours = alias.server_name() == self.server_name();
        match self.made.get().filter(|_| found.is_none() && ours) {
            Some(made) if made.alias(alias).await => self.engine.alias(alias.as_str()).await,
            _ => Ok(found),
        }
    }
}
