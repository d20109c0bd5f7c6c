//! A deterministic simulation: up to five servers with the code that ships, over memory stores, in one thread whose time is paused.
//! Users talk, join, leave, kick, ban, change levels and keep a ledger, while transactions are lost, late, repeated and out of order, links
//! are cut, servers crash with writes that were not synced, and clocks disagree. In the end everything heals, and all servers must
//! have the same state, the same events, the same ends of the graph and the same ledger.
//!
//! `SIMULATION_SEEDS` says how many seeds are run (20), `SIMULATION_FIRST` the first one (1); a failing seed is printed with what happened,
//! and `SIMULATION_FIRST=… SIMULATION_SEEDS=1` replays it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod acts;
mod ending;
mod net;
mod sim;

use std::{panic::AssertUnwindSafe, sync::Arc};

use engine::{EventNum, Projector, RoomNum};
use expenses::LedgerIndex;
use futures::FutureExt as _;
use room::Pdu;
use store::Op;

use sim::{Sim, Trace};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Plays a seed; on failure what was wrong, and what happened.
fn play(seed: u64, projector: Arc<dyn Projector>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let trace = Trace::default();
    let played = runtime.block_on(async {
        let mut sim = Sim::new(seed, projector, trace.clone()).await;
        AssertUnwindSafe(async {
            sim.run().await;
            sim.end().await
        })
        .catch_unwind()
        .await
    });
    let wrong = match played {
        Ok(wrong) if wrong.is_empty() => return Ok(()),
        Ok(wrong) => wrong.join("\n"),
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned()),
    };
    Err(format!("seed {seed}:\n{wrong}\n\nwhat happened:\n{}", trace.text()))
}

#[test]
fn all_servers_end_up_with_the_same_room() {
    let first = number("SIMULATION_FIRST", 1);
    let seeds = number("SIMULATION_SEEDS", 20);
    let mut failed = Vec::new();
    for seed in first..first + seeds {
        if let Err(wrong) = play(seed, Arc::new(LedgerIndex)) {
            eprintln!("{wrong}");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "failing seeds: {failed:?}; replay one with SIMULATION_FIRST=… SIMULATION_SEEDS=1");
}

/// A planted bug: an index that loses some entries of others.
struct Forgetful;

impl Projector for Forgetful {
    fn project(&self, room: RoomNum, num: EventNum, event: &Pdu) -> Vec<Op> {
        if event.sender.as_str().ends_with(":s2") && num.is_multiple_of(3) {
            Vec::new()
        } else {
            LedgerIndex.project(room, num, event)
        }
    }
}

#[test]
fn a_planted_bug_is_found() {
    let found = (1..=number("SIMULATION_SEEDS", 20)).any(|seed| play(seed, Arc::new(Forgetful)).is_err());
    assert!(found, "no seed found the planted bug");
}
