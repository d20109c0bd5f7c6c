//! Servers that did not answer are left alone for a while.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use quick_cache::sync::Cache;
use ruma::{OwnedServerName, ServerName};
use store::Clock;

/// Servers that are waited for at a time; who is forgotten is tried at once.
const SERVERS: usize = 10_000;
/// Failures in a row that are forgiven: a request that got lost is no server that is gone.
const FORGIVEN: u32 = 2;
/// The first wait, in milliseconds. Each is twice the one before.
const FIRST: u64 = 1_000;
/// The longest wait, in milliseconds.
const LONGEST: u64 = 300_000;

#[derive(Debug, Clone, Copy)]
struct Wait {
    failures: u32,
    until: u64,
}

/// How long to leave whom alone.
#[derive(Debug)]
pub(crate) struct Backoff {
    clock: Arc<dyn Clock>,
    waits: Cache<OwnedServerName, Wait>,
}

impl Backoff {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, waits: Cache::new(SERVERS) }
    }

    /// When the wait for a server ends; `None` where there is none.
    pub(crate) fn not_before(&self, server: &ServerName) -> Option<u64> {
        let wait = self.waits.get(server)?;
        (self.clock.now_ms() < wait.until).then_some(wait.until)
    }

    /// A server did not answer.
    pub(crate) fn failed(&self, server: &ServerName) {
        let now = self.clock.now_ms();
        let before = self.waits.get(server);
        // Several calls that fail together are one failure.
        if before.is_some_and(|wait| now < wait.until) {
            return;
        }
        let failures = before.map_or(1, |wait| wait.failures.saturating_add(1));
        let wait = match failures.checked_sub(FORGIVEN + 1) {
            None => 0,
            Some(doublings) => (FIRST << doublings.min(20)).min(LONGEST),
        };
        let until = now.saturating_add(wait).saturating_add(spread(server, failures) % (wait / 4 + 1));
        self.waits.insert(server.to_owned(), Wait { failures, until });
    }

    /// A server is there.
    pub(crate) fn reset(&self, server: &ServerName) {
        if self.waits.peek(server).is_some() {
            self.waits.remove(server);
        }
    }
}

/// A number that differs from server to server and from failure to failure, so that not all are asked again at once.
fn spread(server: &ServerName, failures: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (server.as_str(), failures).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use store::ManualClock;

    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_end_when_the_server_is_heard_from() {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let backoff = Backoff::new(Arc::clone(&clock) as _);
        let (silent, other) = (server_name!("silent.example"), server_name!("other.example"));
        for _ in 0..FORGIVEN {
            backoff.failed(silent);
            assert_eq!(backoff.not_before(silent), None);
        }
        let mut last = 0;
        for failure in 1..40u32 {
            backoff.failed(silent);
            backoff.failed(silent);
            let until = backoff.not_before(silent).unwrap();
            let wait = until - clock.now_ms();
            let least = (FIRST << (failure - 1).min(20)).min(LONGEST);
            assert!(wait >= least && wait <= least + least / 4, "{failure}: {wait}");
            assert!(failure > 8 || wait > last);
            last = wait;
            clock.set(until);
            assert_eq!(backoff.not_before(silent), None);
        }
        backoff.failed(silent);
        assert!(backoff.not_before(silent).is_some());
        assert_eq!(backoff.not_before(other), None);
        backoff.reset(silent);
        assert_eq!(backoff.not_before(silent), None);
        for _ in 0..=FORGIVEN {
            backoff.failed(silent);
        }
        assert!(backoff.not_before(silent).unwrap() - clock.now_ms() <= FIRST + FIRST / 4);
    }
}
