//! Prometheus metrics, on an address of their own so that no proxy shows them to the world by mistake.

use std::sync::Arc;

use crate::error::StartError;
use axum::{Router, routing::get};
use engine::HoldStats;
use federation::{Federation, KeyStats, OutboxStats};
use metrics_exporter_prometheus::PrometheusBuilder;

/// `/metrics`
pub fn router(federation: Arc<Federation>) -> Result<Router, StartError> {
    let handle = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| StartError::Setting("metrics_listen", error.to_string()))?;
    Ok(Router::new().route(
        "/metrics",
        get(move || {
            let db = &federation.db;
            let stats = db.stats().snapshot();
            let count = |name: &'static str, value: u64| metrics::counter!(name).absolute(value);
            count("cliquepay_store_gets_total", stats.gets);
            count("cliquepay_store_multi_gets_total", stats.multi_gets);
            count("cliquepay_store_multi_get_keys_total", stats.multi_get_keys);
            count("cliquepay_store_scans_total", stats.scans);
            count("cliquepay_store_scan_rows_total", stats.scan_rows);
            count("cliquepay_store_commits_total", stats.commits);
            count("cliquepay_store_conflicts_total", stats.conflicts);
            count("cliquepay_store_groups_total", stats.groups);
            count("cliquepay_store_bytes_written_total", stats.bytes_written);
            count("cliquepay_store_frontier", db.frontier());
            count_outbox(&federation.outbox.stats());
            count_keys(federation.keys.stats());
            count_holds(federation.engine.holds());
            let text = handle.render();
            async move { text }
        }),
    ))
}

/// What is on its way to other servers.
fn count_outbox(stats: &OutboxStats) {
    let count = |name: &'static str, value: u64| metrics::counter!(name).absolute(value);
    count("cliquepay_outbox_transactions_total", stats.transactions);
    count("cliquepay_outbox_pdus_total", stats.pdus);
    count("cliquepay_outbox_edus_total", stats.edus);
    count("cliquepay_outbox_refused_total", stats.refused);
    count("cliquepay_outbox_failures_total", stats.failures);
    count("cliquepay_outbox_dropped_total", stats.dropped);
    // Far fewer than what a double counts exactly.
    let gauge =
        |name: &'static str, value: usize| metrics::gauge!(name).set(u32::try_from(value).map_or(f64::MAX, f64::from));
    gauge("cliquepay_outbox_ready", stats.ready);
    gauge("cliquepay_outbox_sending", stats.sending);
    gauge("cliquepay_outbox_backing_off", stats.backing_off);
}

/// What it took to tell who signed what.
fn count_keys(stats: KeyStats) {
    metrics::counter!("cliquepay_signature_checks_total").absolute(stats.checks);
    metrics::counter!("cliquepay_key_requests_total").absolute(stats.requests);
}

/// How long rooms were locked.
fn count_holds(stats: HoldStats) {
    metrics::counter!("cliquepay_room_locks_total").absolute(stats.taken);
    metrics::counter!("cliquepay_room_locked_milliseconds_total").absolute(stats.held_ms);
    let gauge =
        |name: &'static str, value: u64| metrics::gauge!(name).set(u32::try_from(value).map_or(f64::MAX, f64::from));
    gauge("cliquepay_room_locked_longest_milliseconds", stats.longest_ms);
    gauge("cliquepay_room_locked_most_rows", stats.most_rows);
}
