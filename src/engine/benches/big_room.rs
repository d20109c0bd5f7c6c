//! What it reads where branches of a big room meet: `cargo bench -p engine`.
//!
//! Rooms of 500, 2,000 and 20,000 members are entered as rooms of other servers are. Then forks of 2, 20 and 200 branches come in,
//! event by event, as other servers send them, with nothing in memory but auth chains: what is looked at is read from the store and
//! counted there, row by row. It is asserted that reads grow with the conflict and not with the room. Parameter: `version` (of the
//! room; without it 11, 12 and 1, one for each version of the algorithm).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/big_room/counted.rs"]
mod counted;
#[path = "../tests/big_room/forks.rs"]
mod forks;
#[path = "../tests/big_room/rooms.rs"]
mod rooms;
#[path = "../tests/big_room/rules.rs"]
mod rules;

use std::{env, time::Instant};

use engine::CacheSizes;
use forks::{Cost, Kind, fork, no_caches};
use rooms::BigRoom;
use ruma::RoomVersionId;

/// Enough in the smallest one for the widest fork: a long branch is written by as many of them.
const MEMBERS: [usize; 3] = [500, 2_000, 20_000];
const WIDTHS: [usize; 3] = [2, 20, 200];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let chosen = env::args().find_map(|word| Some(word.strip_prefix("version=")?.to_owned()));
    for version in [RoomVersionId::V11, RoomVersionId::V12, RoomVersionId::V1] {
        if chosen.as_ref().is_none_or(|chosen| chosen == version.as_str()) {
            runtime.block_on(measure(&version));
        }
    }
}

async fn measure(version: &RoomVersionId) {
    let mut rooms = Vec::new();
    for members in MEMBERS {
        let begun = Instant::now();
        rooms.push(BigRoom::enter(version, members).await);
        println!("version {version}: a room of {members} members was made and entered in {:?}", begun.elapsed());
    }
    for kind in Kind::ALL {
        let mut narrow: Option<Vec<Cost>> = None;
        for width in WIDTHS {
            println!("\nversion {version}, {}, {width}", kind.name());
            let mut costs = Vec::new();
            for big in &rooms {
                let cost = fork(big, kind, width, no_caches()).await;
                let warm = fork(big, kind, width, CacheSizes::default()).await;
                show(big.members, &cost, &warm);
                costs.push(cost);
            }
            let what = format!("version {version}, {}, {width}", kind.name());
            for (n, cost) in costs.iter().enumerate().skip(1) {
                rules::as_small(&format!("{what}, {} members", MEMBERS[n]), &costs[0], cost);
            }
            if let Some(narrow) = &narrow {
                for (narrow, wide) in narrow.iter().zip(&costs) {
                    rules::by_conflict(&what, narrow, wide, 10);
                }
            }
            narrow = Some(costs);
        }
    }
}

fn show(members: usize, cost: &Cost, warm: &Cost) {
    println!("{members:>6} members  last    {}", cost.last);
    println!("                meeting {}", cost.meeting);
    println!("                all     {}   {:>9.1?}", cost.all, cost.time);
    println!("           with caches  {}   {:>9.1?}", warm.all, warm.time);
}
