//! Who takes invitations. [Invite permission](https://spec.matrix.org/v1.19/client-server-api/#invite-permission).

use serde::Deserialize;

use crate::{Users, error::Result, tables::UserNum};

impl Users {
    /// Whether a user takes no invitations at all.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn blocks_invites(&self, user: UserNum) -> Result<bool> {
        #[derive(Deserialize)]
        struct Config {
            default_action: Option<String>,
        }
        let config = self.account_data.get(user, None, "m.invite_permission_config").await?;
        let config = config.and_then(|config| serde_json::from_str::<Config>(config.get()).ok());
        Ok(config.and_then(|config| config.default_action).is_some_and(|action| action == "block"))
    }
}
