//! What has to be done now and then.

use std::{sync::Arc, time::Duration};

use auth::Auth;
use client_api::App;
use media::Media;
use tokio::sync::watch;

use crate::serve::stopped;

/// How often users whose time has come are shown as idle or offline, and last-seen times are written.
const EVERY: Duration = Duration::from_secs(5);
/// How often it is looked for what is out of use.
const EXPIRE_EVERY: Duration = Duration::from_secs(6 * 3600);

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

/// Removes what nobody looks at any more, until told to stop.
pub async fn expire(media: Arc<Media>, mut stopping: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(EXPIRE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                if let Err(error) = media.expire_previews().await {
                    tracing::warn!(%error, "pictures of previews that are out of use were not removed");
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
