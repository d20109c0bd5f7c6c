//! The endpoints that other servers call.

mod backfill;
mod canonical;
mod claim_keys;
mod get_devices;
mod get_event;
mod get_event_auth;
mod get_event_by_timestamp;
mod get_hierarchy;
mod get_media;
mod get_missing_events;
mod get_openid_userinfo;
mod get_server_version;
mod get_state;
mod get_state_ids;
mod get_well_known;
mod invite;
mod invite_v1;
mod keys_error;
pub mod ledger;
mod make_join;
mod make_knock;
mod make_leave;
mod membership;
mod public_rooms;
mod query_directory;
mod query_keys;
mod query_profile;
mod reads;
mod route;
mod send_join;
mod send_knock;
mod send_leave;
mod send_transaction;
mod signed;
#[cfg(test)]
mod tests;
mod x_matrix;
#[cfg(test)]
mod x_matrix_tests;

use axum::Router;
use http_kit::EndpointOptions;

pub use crate::inbound::{
    get_media::{OwnMedia, Picture},
    route::{FedHandler, FedRequest, FedRouter},
    signed::{Open, Signed},
};

#[cfg(test)]
pub(crate) use crate::inbound::{
    canonical::canonical as canonical_form,
    send_transaction::{ANSWERS_KEPT, answers_kept},
};

use crate::Api;

/// What the endpoints share.
#[derive(Debug, Default)]
pub(crate) struct InboundState {
    large_answers: reads::LargeAnswers,
    transactions: send_transaction::Transactions,
}

pub(crate) fn router() -> Router<Api> {
    Router::new()
        // Ledgers
        .fed(ledger::handler)
        // Transactions
        .fed_large(send_transaction::MAX_BODY, send_transaction::handler)
        // Memberships
        .fed(invite::v1)
        .fed(invite::v2)
        .fed(make_join::handler)
        .fed(make_knock::handler)
        .fed(make_leave::handler)
        .fed(send_join::handler)
        .fed_at(send_join::V1, EndpointOptions::default(), send_join::v1)
        .fed(send_knock::handler)
        .fed(send_leave::handler)
        .fed_at(send_leave::V1, EndpointOptions::default(), send_leave::v1)
        // Server
        .fed(get_server_version::handler)
        .fed(get_well_known::handler)
        // Rooms and their events
        .fed(get_event::handler)
        .fed(get_state::handler)
        .fed(get_state_ids::handler)
        .fed(get_event_auth::handler)
        .fed(backfill::handler)
        .fed(get_missing_events::handler)
        .fed(get_event_by_timestamp::handler)
        // Files
        .fed(get_media::download)
        .fed(get_media::thumbnail)
        // Queries
        .fed(query_profile::handler)
        .fed(query_directory::handler)
        .fed(public_rooms::all)
        .fed(public_rooms::filtered)
        .fed(get_hierarchy::handler)
        .fed(get_openid_userinfo::handler)
        // Devices and keys
        .fed(get_devices::handler)
        .fed(query_keys::handler)
        .fed(claim_keys::handler)
}
