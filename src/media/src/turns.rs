//! One or a few at a time for each of many things, and so many at a time for each user.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Line = Arc<Semaphore>;

/// Lets a few tasks at a time work on a thing; the others wait, first come, first served.
#[derive(Debug)]
pub(crate) struct Turns<K: Eq + Hash + Clone> {
    at_once: usize,
    lines: Arc<Mutex<HashMap<K, Line>>>,
}

impl<K: Eq + Hash + Clone> Default for Turns<K> {
    /// One at a time.
    fn default() -> Self {
        Self::new(1)
    }
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<K: Eq + Hash + Clone> {
    key: K,
    lines: Arc<Mutex<HashMap<K, Line>>>,
    guard: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    pub(crate) fn new(at_once: usize) -> Self {
        Self { at_once, lines: Arc::default() }
    }

    pub(crate) async fn take(&self, key: K) -> Turn<K> {
        let line = || Arc::new(Semaphore::new(self.at_once));
        let line = Arc::clone(self.lines.lock().entry(key.clone()).or_insert_with(line));
        // Made before the wait, so that who gives up waiting leaves nothing behind either.
        let mut turn = Turn { key, lines: Arc::clone(&self.lines), guard: None };
        // Nobody closes it.
        turn.guard = line.acquire_owned().await.ok();
        turn
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lines.lock().len()
    }
}

impl<K: Eq + Hash + Clone> Drop for Turn<K> {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut lines = self.lines.lock();
        // Nobody works on it or waits: others take their handle under this lock.
        if lines.get(&self.key).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.key);
        }
    }
}

/// Counts what each user has under way.
#[derive(Debug, Default)]
pub(crate) struct Slots(Arc<Mutex<HashMap<u64, usize>>>);

/// One thing under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    user: u64,
    slots: Arc<Mutex<HashMap<u64, usize>>>,
}

impl Slots {
    /// One more for a user, if they have fewer than `limit`.
    pub(crate) fn take(&self, user: u64, limit: usize) -> Option<Slot> {
        let mut slots = self.0.lock();
        let count = slots.get(&user).copied().unwrap_or(0);
        if count >= limit {
            return None;
        }
        slots.insert(user, count + 1);
        Some(Slot { user, slots: Arc::clone(&self.0) })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut slots = self.slots.lock();
        match slots.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(slots.remove(&self.user)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_one_after_the_other_and_leave_nothing_behind() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        let other = turns.take("b").await;
        {
            let mut second = Box::pin(turns.take("a"));
            assert!(futures::poll!(second.as_mut()).is_pending());
        }
        let mut third = Box::pin(turns.take("a"));
        assert!(futures::poll!(third.as_mut()).is_pending());
        drop(first);
        drop(third.await);
        drop(other);
        assert_eq!(turns.len(), 0);
    }

    #[tokio::test]
    async fn a_few_may_be_let_through_at_a_time() {
        let turns = Turns::new(2);
        let (first, second) = (turns.take("a").await, turns.take("a").await);
        let mut third = Box::pin(turns.take("a"));
        assert!(futures::poll!(third.as_mut()).is_pending());
        drop(second);
        let third = third.await;
        drop((first, third));
        assert_eq!(turns.len(), 0);
    }

    #[test]
    fn a_user_has_so_many_slots() {
        let slots = Slots::default();
        let (one, two) = (slots.take(7, 2), slots.take(7, 2));
        assert!(one.is_some() && two.is_some());
        assert!(slots.take(7, 2).is_none());
        assert!(slots.take(8, 2).is_some());
        drop(one);
        assert!(slots.take(7, 2).is_some());
        drop(two);
        assert!(slots.0.lock().is_empty());
    }
}
