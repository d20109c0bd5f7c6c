//! What has to be done now and then.

use std::time::Duration;

use client_api::App;
use tokio::sync::watch;

use crate::serve::stopped;

/// How often users whose time has come are shown as idle or offline, and last-seen times are written.
const EVERY: Duration = Duration::from_secs(5);

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
