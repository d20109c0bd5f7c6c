//! `m.presence`. [Presence](https://spec.matrix.org/v1.19/server-server-api/#presence).

use engine::EngineError;
use ruma::{ServerName, presence::PresenceState};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Federation;

/// Users of one EDU that are looked at.
const MAX_USERS: usize = 500;

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    push: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Update {
    user_id: String,
    presence: PresenceState,
    status_msg: Option<String>,
    #[serde(default)]
    last_active_ago: u64,
    #[serde(default)]
    currently_active: bool,
}

impl Federation {
    pub(super) async fn take_presence(&self, origin: &ServerName, content: &RawValue) -> Result<(), EngineError> {
        let Ok(Content { push }) = serde_json::from_str::<Content<'_>>(content.get()) else { return Ok(()) };
        for update in push.into_iter().take(MAX_USERS) {
            let Ok(update) = serde_json::from_str::<Update>(update.get()) else { continue };
            let is_known =
                matches!(update.presence, PresenceState::Online | PresenceState::Offline | PresenceState::Unavailable);
            // Who has never been in a room here has no number, and nobody who could look.
            let Some(user) = self.user_of(origin, &update.user_id).await?.filter(|_| is_known) else { continue };
            let status = update.status_msg.as_deref();
            let (ago, active) = (update.last_active_ago, update.currently_active);
            if self.users.presence.set_remote(user, update.presence, status, ago, active) {
                self.wake_those_who_see(&update.user_id).await?;
            }
        }
        Ok(())
    }
}
