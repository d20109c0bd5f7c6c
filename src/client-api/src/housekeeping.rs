//! What the binary calls besides handling requests: now and then, and at the end.

use std::sync::atomic::Ordering;

use crate::App;

/// Milliseconds between two writes of when devices were last seen.
const FLUSH_EVERY_MS: u64 = 300_000;

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
        let now = self.engine.now();
        if now.saturating_sub(self.devices_flushed.load(Ordering::Relaxed)) >= FLUSH_EVERY_MS {
            match self.users.devices.flush().await {
                Ok(()) => self.devices_flushed.store(now, Ordering::Relaxed),
                Err(error) => tracing::warn!(%error, "could not write down when devices were last seen"),
            }
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
