//! When rows of the feed can go: once every service is past them.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use store::Pos;

/// Rows are deleted once the slowest service has moved on by so many positions.
const EVERY: Pos = 256;

/// How far the services are.
#[derive(Debug)]
pub(crate) struct Trim {
    /// Of those that are told nothing, never set.
    told: Mutex<Vec<Option<Pos>>>,
    done: AtomicU64,
}

impl Trim {
    pub(crate) fn of(services: usize) -> Self {
        Self { told: Mutex::new(vec![None; services]), done: AtomicU64::new(0) }
    }

    /// A service was told everything up to a position.
    pub(super) fn told(&self, index: usize, pos: Pos) {
        if let Some(told) = self.told.lock().get_mut(index) {
            *told = Some(pos);
        }
    }

    /// The position up to which rows can go, where it is worth it. `expected` services have a place.
    pub(super) fn due(&self, expected: usize) -> Option<Pos> {
        let told = self.told.lock();
        let known: Vec<Pos> = told.iter().flatten().copied().collect();
        let slowest = known.iter().copied().min()?;
        let due = known.len() == expected && slowest >= self.done.load(Ordering::Acquire).saturating_add(EVERY);
        due.then_some(slowest)
    }

    pub(super) fn trimmed(&self, pos: Pos) {
        self.done.fetch_max(pos, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_when_the_slowest_is_past_them() {
        let trim = Trim::of(3);
        trim.told(0, 1000);
        assert_eq!(trim.due(2), None);
        trim.told(2, EVERY - 1);
        assert_eq!(trim.due(2), None);
        trim.told(2, EVERY);
        assert_eq!(trim.due(2), Some(EVERY));
        trim.trimmed(EVERY);
        assert_eq!(trim.due(2), None);
        trim.told(2, 2000);
        assert_eq!(trim.due(2), Some(1000));
    }
}
