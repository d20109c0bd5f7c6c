//! What the binary calls besides handling requests: now and then, and at the end.

use std::sync::atomic::Ordering;

use crate::App;

impl App {
    /// What time alone brings about: users become idle or offline, and what was seen of devices is written down. To be called
    /// every few seconds. Failures are logged; the next call tries again.
    pub async fn housekeeping(&self) {
        if self.config.presence {
            for user in self.users.presence.tick() {
                if let Err(error) = self.wake_sharers(user).await {
                    tracing::warn!(user, error = %error.0.error, "could not wake those who see a user's presence");
                }
            }
        }
        // Costs nothing where no device was seen since the last time.
        if let Err(error) = self.users.devices.flush().await {
            tracing::warn!(%error, "could not write down when devices were last seen");
        }
    }

    /// Ends all long polls, those to come too: for a server that shuts down. Other requests are still answered.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.engine.db.notifier().wake_all();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}
