//! What has to be done now and then.

use std::time::Duration;

use client_api::App;
use engine::{EngineError, Membership};
use tokio::sync::watch;
use tracing::warn;

use crate::serve::stopped;

/// How often users whose time has come are shown as idle or offline, and last-seen times are written.
const EVERY: Duration = Duration::from_secs(5);

/// Runs until told to stop.
pub async fn run(app: App, mut stopping: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                if let Err(error) = presence(&app).await {
                    warn!(%error, "presence was not brought up to date");
                }
                if let Err(error) = app.users.devices.flush().await {
                    warn!(%error, "last-seen times were not written");
                }
            }
            () = stopped(&mut stopping) => return,
        }
    }
}

/// Users become idle or offline; those who share a room with them are told.
async fn presence(app: &App) -> Result<(), EngineError> {
    for user in app.users.presence.tick() {
        for (room, place) in app.engine.user_rooms().of(user).await?.iter() {
            if place.membership == Membership::Join {
                for member in app.engine.room_by_num(*room).await?.info().local_members.iter() {
                    app.engine.db.notifier().wake(*member);
                }
            }
        }
    }
    Ok(())
}
