use std::sync::atomic::{AtomicU64, Ordering};

use super::queues::Census;

/// What the outbox did since the start, and what it is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxStats {
    /// Transactions that were taken.
    pub transactions: u64,
    /// Events in them.
    pub pdus: u64,
    /// EDUs in them.
    pub edus: u64,
    /// Events in them that the other server would not have.
    pub refused: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Events that were not sent: newer ones stand for them, or nobody there is in the room any more, or they were never taken.
    pub dropped: u64,
    /// Destinations whose turn is about to come.
    pub ready: usize,
    /// Destinations that are being sent to.
    pub sending: usize,
    /// Destinations that are waited for.
    pub backing_off: usize,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) transactions: AtomicU64,
    pub(super) pdus: AtomicU64,
    pub(super) edus: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) dropped: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn snapshot(&self, census: Census) -> OutboxStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OutboxStats {
            transactions: read(&self.transactions),
            pdus: read(&self.pdus),
            edus: read(&self.edus),
            refused: read(&self.refused),
            failures: read(&self.failures),
            dropped: read(&self.dropped),
            ready: census.ready,
            sending: census.sending,
            backing_off: census.waiting,
        }
    }
}
