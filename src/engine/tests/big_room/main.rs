//! What the meeting of branches reads grows with what they disagree on, not with the room. `benches/big_room.rs` says the same of
//! larger rooms.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(dead_code, reason = "the benchmark shows more of it")]

mod counted;
mod forks;
mod rooms;
mod rules;

use forks::{Kind, fork, no_caches};
use rooms::BigRoom;
use ruma::RoomVersionId;

/// Versions 1, 2 and 2.1 of the algorithm.
const VERSIONS: [RoomVersionId; 3] = [RoomVersionId::V1, RoomVersionId::V11, RoomVersionId::V12];

#[tokio::test]
async fn reads_grow_with_the_conflict_and_not_with_the_room() {
    for version in VERSIONS {
        let (small, large) = (BigRoom::enter(&version, 100).await, BigRoom::enter(&version, 1500).await);
        for kind in Kind::ALL {
            let mut narrow = None;
            for width in [2, 16] {
                let costs =
                    [fork(&small, kind, width, no_caches()).await, fork(&large, kind, width, no_caches()).await];
                let what = format!("version {version}, {}, {width}", kind.name());
                rules::as_small(&what, &costs[0], &costs[1]);
                if let Some(narrow) = narrow.replace(costs[1]) {
                    rules::by_conflict(&what, &narrow, &costs[1], width / 2);
                }
            }
        }
    }
}
