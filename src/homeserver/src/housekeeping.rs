//! What has to be done now and then.

use std::{sync::Arc, time::Duration};

use auth::Auth;
use client_api::App;
use tokio::sync::watch;

use crate::serve::stopped;

/// How often users whose time has come are shown as idle or offline, and last-seen times are written.
const EVERY: Duration = Duration::from_secs(5);

/// Asks providers now and then whether those who logged in through them still may, and removes apps that nobody uses, until told to stop. A task of its own: a
/// provider that is slow holds nothing else up.
pub async fn recheck(auth: Arc<Auth>, mut stopping: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                if let Err(error) = auth.recheck_upstream().await {
                    tracing::warn!(%error, "sessions at providers could not be looked at");
                }
                if let Err(error) = auth.expire_clients().await {
                    tracing::warn!(%error, "apps that nobody uses were not removed");
                }
            }
            () = stopped(&mut stopping) => return,
        }
    }
}

/// Runs until told to stop.
pub async fn run(app: App, mut stopping: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = tick.tick() => app.housekeeping().await,
            () = stopped(&mut stopping) => return,
        }
    }
}
