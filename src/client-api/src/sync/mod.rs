//! `GET /_matrix/client/v3/sync`. [Syncing](https://spec.matrix.org/v1.19/client-server-api/#syncing).
//!
//! A response is written as text from spliced events. What a sync reads from the store depends on the rooms that
//! changed, not on the rooms that the user is in; nothing is stored per token.

mod assemble;
mod device_lists;
mod encryption;
mod ephemeral;
mod handler;
mod rooms;
mod section;
mod sliding;
mod state;
mod summary;
#[cfg(test)]
mod tests;
mod timeline;
mod unread;

use axum::Router;
use http_kit::RumaRouter;
use quick_cache::sync::Cache;
use unread::Counted;
pub(crate) use unread::total;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(handler::handler).merge(sliding::router())
}

/// Rooms of users whose unread counts are kept in memory, at most.
const COUNTS_KEPT: usize = 50_000;

/// What syncs share.
pub(crate) struct SyncState {
    counts: Cache<(u64, u64), Counted>,
    bumps: sliding::Bumps,
    connections: sliding::Connections,
}

impl Default for SyncState {
    fn default() -> Self {
        Self {
            counts: Cache::new(COUNTS_KEPT),
            bumps: sliding::Bumps::default(),
            connections: sliding::Connections::default(),
        }
    }
}
