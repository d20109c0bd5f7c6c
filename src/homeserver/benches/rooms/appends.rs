//! Messages, as many as go.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures::future::join_all;

use crate::{machine, server::Server};

/// Transaction ids used so far.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Runs so many writers, each of which waits for its event to be durable before it sends the next, and prints.
pub async fn run(server: &Server, rooms: usize, writers: usize, length: Duration) {
    let mut targets = Vec::with_capacity(rooms);
    for n in 0..rooms {
        targets.push(server.room(&format!("r{rooms}w{writers}n{n}")).await);
    }
    let (stats, syncs) = (server.db.stats().snapshot(), server.store.log_syncs().unwrap_or_default());
    let (cpu, begun) = (machine::cpu_micros(), Instant::now());
    let deadline = begun + length;
    let write = |writer: usize| {
        let targets = &targets;
        async move {
            let mut latencies = Vec::new();
            // Each writer goes round all rooms, from a place of its own.
            for room in targets.iter().cycle().skip(writer * targets.len() / writers) {
                let sent = Instant::now();
                if sent >= deadline {
                    break;
                }
                server.say(room, &format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed))).await;
                latencies.push(sent.elapsed());
            }
            latencies
        }
    };
    let mut latencies: Vec<Duration> = join_all((0..writers).map(write)).await.concat();
    let elapsed = begun.elapsed().as_secs_f64();
    let cpu = machine::cpu_micros() - cpu;
    let stats = server.db.stats().snapshot() - stats;
    let syncs = server.store.log_syncs().unwrap_or_default() - syncs;
    latencies.sort_unstable();
    let events = latencies.len() as f64;
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{writers:>2} writers, {rooms:>2} rooms: {:>6.0} events/s, p50 {:.2} ms, p99 {:.2} ms, {:.0} CPU-µs an event, {} groups, \
         {syncs} fsyncs, {:.1} events a group, {:.2} store reads and {:.0} bytes an event",
        events / elapsed,
        at(0.5),
        at(0.99),
        cpu as f64 / events,
        stats.groups,
        events / stats.groups as f64,
        stats.reads() as f64 / events,
        stats.bytes_written as f64 / events,
    );
}
