//! Single-use numbers of the shared-secret registration.

use std::collections::HashMap;

use http_kit::Clock;
use parking_lot::Mutex;

use crate::entropy::Entropy;

/// How long a nonce is good for, in milliseconds.
const LIFETIME_MS: u64 = 60_000;
/// Nonces at the same time, at most: strangers can ask for them.
const MAX: usize = 1024;

/// The nonces that were given out and not used yet.
#[derive(Debug)]
pub(crate) struct Nonces {
    clock: Clock,
    /// Nonce → when it ends.
    open: Mutex<HashMap<String, u64>>,
}

impl Nonces {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, open: Mutex::default() }
    }

    pub(crate) fn issue(&self, entropy: &Entropy) -> String {
        let now = self.clock.now_ms();
        let nonce = hex::encode(entropy.bytes::<32>());
        let mut open = self.open.lock();
        if open.len() >= MAX {
            open.retain(|_, end| *end > now);
        }
        if open.len() >= MAX
            && let Some(oldest) = open.iter().min_by_key(|(_, end)| **end).map(|(nonce, _)| nonce.clone())
        {
            open.remove(&oldest);
        }
        open.insert(nonce.clone(), now.saturating_add(LIFETIME_MS));
        nonce
    }

    /// Whether the nonce was open; it is used up now.
    pub(crate) fn take(&self, nonce: &str) -> bool {
        let end = self.open.lock().remove(nonce);
        end.is_some_and(|end| end > self.clock.now_ms())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn a_nonce_is_good_once_and_for_a_minute() {
        let time = Arc::new(AtomicU64::new(0));
        let entropy = Entropy::new(StdRng::seed_from_u64(1));
        let nonces = Nonces::new(Clock::new({
            let time = Arc::clone(&time);
            move || time.load(Ordering::Relaxed)
        }));
        let (first, second) = (nonces.issue(&entropy), nonces.issue(&entropy));
        assert_ne!(first, second);
        assert!(nonces.take(&first));
        assert!(!nonces.take(&first));
        time.store(60_000, Ordering::Relaxed);
        assert!(!nonces.take(&second));
        for _ in 0..2 * MAX {
            nonces.issue(&entropy);
        }
        assert_eq!(nonces.open.lock().len(), MAX);
    }
}
