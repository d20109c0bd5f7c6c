//! `m.presence`. [Presence](https://spec.matrix.org/v1.19/server-server-api/#presence).

use std::collections::BTreeMap;

use engine::EngineError;
use ruma::{ServerName, presence::PresenceState};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Federation;

/// Users of one transaction that are looked at.
const MAX_USERS: usize = 500;

/// What a transaction says of users' presence: of each user its last word alone.
#[derive(Default)]
pub(super) struct Updates(BTreeMap<String, Update>);

impl Updates {
    /// Adds what one EDU says.
    pub(super) fn add(&mut self, content: &RawValue) {
        let Ok(Content { push }) = serde_json::from_str::<Content<'_>>(content.get()) else { return };
        for update in push.into_iter().take(MAX_USERS) {
            let Ok(update) = serde_json::from_str::<Update>(update.get()) else { continue };
            if self.0.len() < MAX_USERS || self.0.contains_key(&update.user_id) {
                self.0.insert(update.user_id.clone(), update);
            }
        }
    }
}

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
    /// Applies what a transaction says of users' presence, and wakes those who see them once.
    pub(super) async fn take_presence(&self, origin: &ServerName, updates: Updates) -> Result<(), EngineError> {
        let mut changed = Vec::new();
        for (user_id, update) in updates.0 {
            let is_known =
                matches!(update.presence, PresenceState::Online | PresenceState::Offline | PresenceState::Unavailable);
            // Who has never been in a room here has no number, and nobody who could look.
            let Some(user) = self.user_of(origin, &user_id).await?.filter(|_| is_known) else { continue };
            let status = update.status_msg.as_deref();
            let (ago, active) = (update.last_active_ago, update.currently_active);
            if self.users.presence.set_remote(user, update.presence, status, ago, active) {
                changed.push(user_id);
            }
        }
        self.wake_those_who_see(origin, &changed).await
    }
}
