//! The users that services are where they name none.

use users::{
    UsersError,
    accounts::{AccountKind, Grammar, NewAccount},
};

use crate::state::Auth;

impl Auth {
    /// Creates the accounts of the services' own users that do not exist yet.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn create_service_senders(&self) -> users::Result<()> {
        for service in self.appservices.all() {
            let sender = &service.sender;
            if self.users.accounts.by_user_id(sender).await?.is_some() {
                continue;
            }
            let new = NewAccount {
                grammar: Grammar::Historical,
                kind: AccountKind::AppService,
                ..NewAccount::user(sender.localpart())
            };
            match self.users.register(new, None).await {
                Ok(_) => {
                    tracing::info!(service = %service.id, user_id = %sender, "an application service has its user")
                }
                // In another case of its letters: the service has no user then, and is told so when it comes.
                Err(UsersError::UserInUse) => {
                    tracing::error!(service = %service.id, user_id = %sender, "the user name is taken by somebody else");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
