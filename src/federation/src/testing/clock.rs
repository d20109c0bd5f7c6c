use std::sync::atomic::{AtomicI64, Ordering};

use store::Clock;
use tokio::time::Instant;

/// When a world begins, milliseconds since the Unix epoch.
const BEGINNING: u64 = 1_700_000_000_000;

/// A server's clock: it goes with tokio's time, which tests pause, and is wrong by as much as it was told.
#[derive(Debug)]
pub struct WorldClock {
    start: Instant,
    offset: AtomicI64,
}

impl WorldClock {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, offset: AtomicI64::new(0) }
    }

    /// How far it is off, in milliseconds.
    pub fn set_offset(&self, ms: i64) {
        self.offset.store(ms, Ordering::Release);
    }

    /// Moves it on.
    pub fn advance(&self, ms: i64) {
        self.offset.fetch_add(ms, Ordering::AcqRel);
    }
}

impl Clock for WorldClock {
    fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or_default();
        (BEGINNING + passed).saturating_add_signed(self.offset.load(Ordering::Acquire))
    }
}
