//! The Client-Server API: one file per endpoint, grouped by area, and the assembly of `/sync`.
//!
//! A handler takes [`State<App>`](axum::extract::State) and a [`http_kit::Ruma`] request, and answers an [`ApiError`] where it
//! cannot. Each area has a `router()` that lists its endpoints, a line each.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod access;
mod account_data;
mod admin;
mod app;
mod bridged;
mod delayed;
mod directory;
mod discovery;
mod error;
mod filter;
mod filters;
mod housekeeping;
mod judge;
mod key_backup;
mod keys;
mod membership;
mod notices;
mod openid;
mod own;
mod page;
mod presence;
mod profile;
mod push;
mod receipts;
mod remote_queries;
mod reports;
mod room_state;
mod rooms;
mod rtc;
mod search;
mod send;
mod spaces;
mod sync;
#[cfg(test)]
#[allow(dead_code)]
mod testing;
#[cfg(test)]
mod tests;
mod threads;
mod timeline;
mod to_device;
mod user_directory;
mod voip;

pub use app::{App, AppParts, ClientApiConfig, WeakApp};
pub use delayed::DelayedConfig;
pub use discovery::{SupportConfig, SupportContact};
pub use error::ApiError;
pub use membership::{NoRemoteRooms, RemoteFuture, RemoteInvitation, RemoteJoined, RemoteMembership, RemoteRooms};
pub use remote_queries::{ClaimedKeys, Claims, NoOtherServers, RemoteAnswer, RemoteError, RemoteQueries};
pub use rtc::RtcConfig;
pub use timeline::OlderHistory;
pub use voip::TurnConfig;

/// All endpoints of this crate.
pub fn router() -> axum::Router<App> {
    axum::Router::new()
        .merge(account_data::router())
        .merge(admin::router())
        .merge(delayed::router())
        .merge(directory::router())
        .merge(discovery::router())
        .merge(user_directory::router())
        .merge(filters::router())
        .merge(key_backup::router())
        .merge(keys::router())
        .merge(openid::router())
        .merge(presence::router())
        .merge(profile::router())
        .merge(push::router())
        .merge(receipts::router())
        .merge(reports::router())
        .merge(search::router())
        .merge(send::router())
        .merge(spaces::router())
        .merge(sync::router())
        .merge(rooms::router())
        .merge(rtc::router())
        .merge(membership::router())
        .merge(room_state::router())
        .merge(threads::router())
        .merge(timeline::router())
        .merge(voip::router())
        .merge(to_device::router())
}
