//! A deterministic simulation: up to five servers with the code that ships, over memory stores, each seed in one thread whose time is
//! paused. Users talk, join, leave, invite, kick, ban, change levels and rules and keep a ledger, while transactions are lost, late,
//! repeated and out of order, links are cut one by one and between halves, servers crash with writes that were not synced, and clocks
//! disagree. In the end everything heals, and all servers must have the same state, the same events, the same ends of the graph and the
//! same ledger, each what it acknowledged, and each what its own check says.
//!
//! `SIMULATION_SEEDS` says how many seeds are run (8), `SIMULATION_FIRST` the first one (1), `SIMULATION_THREADS` in how many threads (as
//! many as there are processors); a failing seed is printed with what happened, and `SIMULATION_FIRST=… SIMULATION_SEEDS=1` replays it.
//! `SIMULATION_REPLAYS` says how many seeds are played twice (2), for the same trace and the same bytes in every store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod acts;
mod bugs;
mod compare;
mod ending;
mod members;
mod money;
mod net;
mod play;
mod sim;
mod trace;

use bugs::Rig;
use play::{number, play, play_all};

#[test]
fn all_servers_end_up_with_the_same_room() {
    let (first, seeds) = (number("SIMULATION_FIRST", 1), number("SIMULATION_SEEDS", 8));
    let failed = play_all(first..first + seeds, |seed| {
        let played = play(seed, &Rig::default());
        if played.wrong.is_empty() {
            return None;
        }
        eprintln!("{}", played.report(seed));
        Some(seed)
    });
    assert!(failed.is_empty(), "failing seeds: {failed:?}; replay one with SIMULATION_FIRST=… SIMULATION_SEEDS=1");
}

#[test]
fn a_seed_replays_exactly() {
    let (first, seeds) = (number("SIMULATION_FIRST", 1), number("SIMULATION_REPLAYS", 2));
    let failed = play_all(first..first + seeds, |seed| {
        let (one, other) = (play(seed, &Rig::default()), play(seed, &Rig::default()));
        let differs = one.difference(&other)?;
        eprintln!("seed {seed} does not replay:\n{differs}");
        Some(seed)
    });
    assert!(failed.is_empty(), "seeds that do not replay: {failed:?}");
}

/// Events that another server says it took and did not take are asked for, and all is well.
#[test]
fn what_a_server_drops_and_confirms_is_found_again() {
    let (first, seeds) = (number("SIMULATION_FIRST", 1), number("SIMULATION_BUGS", 3));
    let failed = play_all(first..first + seeds, |seed| {
        let played = play(seed, &Rig { drops_events: true, ..Rig::default() });
        if played.wrong.is_empty() {
            return None;
        }
        eprintln!("{}", played.report(seed));
        Some(seed)
    });
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
}

/// A seed that finds a planted bug, and in which words.
fn found(rig: &Rig) -> Option<(u64, String)> {
    let first = number("SIMULATION_FIRST", 1);
    (first..first + number("SIMULATION_SEEDS", 8)).find_map(|seed| {
        let played = play(seed, rig);
        Some((seed, played.wrong.first()?.clone()))
    })
}

#[test]
fn an_index_that_loses_entries_is_found() {
    let found = found(&Rig::forgetful_index()).expect("no seed found the planted bug");
    assert!(found.1.contains("ledger"), "{found:?}");
}

#[test]
fn a_disk_that_acknowledges_too_early_is_found() {
    let found = found(&Rig::hasty_disk()).expect("no seed found the planted bug");
    assert!(found.1.contains("acknowledged"), "{found:?}");
}

#[test]
fn a_disk_that_loses_rows_is_found() {
    found(&Rig::lossy_disk()).expect("no seed found the planted bug");
}
