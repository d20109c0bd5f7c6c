//! How long rooms' writers are held. Whoever writes to a room waits for that long, so nobody may hold one while waiting for anything
//! that is not this server's own: an operator sees here whether somebody does.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What was done under the locks of rooms since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HoldStats {
    /// How often one was taken.
    pub taken: u64,
    /// How long they were held, all together, in milliseconds.
    pub held_ms: u64,
    /// The longest that one was held, in milliseconds.
    pub longest_ms: u64,
    /// The most rows that were written under one.
    pub most_rows: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Holds {
    taken: AtomicU64,
    held_ms: AtomicU64,
    longest_ms: AtomicU64,
    most_rows: AtomicU64,
}

impl Holds {
    pub(crate) fn ended(&self, ms: u64, rows: usize) {
        self.taken.fetch_add(1, Relaxed);
        self.held_ms.fetch_add(ms, Relaxed);
        self.longest_ms.fetch_max(ms, Relaxed);
        self.most_rows.fetch_max(rows as u64, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> HoldStats {
        HoldStats {
            taken: self.taken.load(Relaxed),
            held_ms: self.held_ms.load(Relaxed),
            longest_ms: self.longest_ms.load(Relaxed),
            most_rows: self.most_rows.load(Relaxed),
        }
    }
}
