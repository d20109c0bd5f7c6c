use std::sync::Arc;

use dashmap::DashMap;
use smallvec::SmallVec;
use tokio::sync::Notify;

/// Whom a commit wakes. Keys are chosen by the caller (an interned user, say).
#[derive(Debug, Clone, Default)]
pub enum WakeKeys {
    /// Nobody.
    #[default]
    None,
    /// A few.
    Some(SmallVec<[u64; 4]>),
    /// A list shared with its owner, such as a room's local members.
    Shared(Arc<[u64]>),
    /// Both kinds.
    Both(SmallVec<[u64; 4]>, Arc<[u64]>),
}

impl WakeKeys {
    /// One key.
    pub fn one(key: u64) -> Self {
        Self::Some(SmallVec::from_slice(&[key]))
    }

    /// Adds a key.
    #[must_use]
    pub fn and(self, key: u64) -> Self {
        match self {
            Self::None => Self::one(key),
            Self::Some(mut keys) => {
                keys.push(key);
                Self::Some(keys)
            }
            Self::Shared(shared) => Self::Both(SmallVec::from_slice(&[key]), shared),
            Self::Both(mut keys, shared) => {
                keys.push(key);
                Self::Both(keys, shared)
            }
        }
    }

    /// The keys that are not in a shared list.
    pub(crate) fn for_each_own(&self, f: impl FnMut(u64)) {
        match self {
            Self::None | Self::Shared(_) => {}
            Self::Some(keys) | Self::Both(keys, _) => keys.iter().copied().for_each(f),
        }
    }

    pub(crate) fn for_each(&self, mut f: impl FnMut(u64)) {
        let (few, many): (&[u64], &[u64]) = match self {
            Self::None => (&[], &[]),
            Self::Some(keys) => (keys, &[]),
            Self::Shared(shared) => (&[], shared),
            Self::Both(keys, shared) => (keys, shared),
        };
        few.iter().chain(many).copied().for_each(&mut f);
    }
}

/// Wakes those who wait for something to happen under a key: the long polls of a user.
#[derive(Debug, Default)]
pub struct Notifier {
    waiting: DashMap<u64, SmallVec<[Arc<Notify>; 1]>>,
}

impl Notifier {
    /// Registers a waiter. Anything that happens from here on is not missed: register, then look, then wait.
    pub fn register(self: &Arc<Self>, key: u64) -> Waiter {
        let notify = Arc::new(Notify::new());
        self.waiting.entry(key).or_default().push(Arc::clone(&notify));
        Waiter { notifier: Arc::clone(self), key, notify }
    }

    /// Wakes all who wait under a key. A waiter that is not waiting right now finds the wake-up when it next does.
    pub fn wake(&self, key: u64) {
        if let Some(waiters) = self.waiting.get(&key) {
            for waiter in waiters.iter() {
                waiter.notify_one();
            }
        }
    }

    /// Wakes everybody, as at shutdown.
    pub fn wake_all(&self) {
        for waiters in &self.waiting {
            for waiter in waiters.iter() {
                waiter.notify_one();
            }
        }
    }

    /// Whether anybody waits at all.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// A registration with a [`Notifier`]; dropping it ends it.
#[derive(Debug)]
pub struct Waiter {
    notifier: Arc<Notifier>,
    key: u64,
    notify: Arc<Notify>,
}

impl Waiter {
    /// Returns when the key was woken since the registration or the last return.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(mut waiters) = self.notifier.waiting.get_mut(&self.key) {
            waiters.retain(|waiter| !Arc::ptr_eq(waiter, &self.notify));
        }
        self.notifier.waiting.remove_if(&self.key, |_, waiters| waiters.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_wake_between_registering_and_waiting_is_not_lost() {
        let notifier = Arc::new(Notifier::default());
        let waiter = notifier.register(3);
        notifier.wake(4);
        assert!(waiter.woken().now_or_never().is_none());
        notifier.wake(3);
        assert!(waiter.woken().now_or_never().is_some());
        drop(waiter);
        assert!(notifier.is_idle());
    }
}
