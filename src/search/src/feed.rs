//! Events that landed and are not looked at yet. Whoever writes to a room only leaves a number here.

use std::collections::VecDeque;

use engine::{EventNum, RoomNum};
use parking_lot::Mutex;
use store::Pos;
use tokio::sync::Notify;

/// Numbers kept, at most. Where more come, all are forgotten, and every room is looked through from where the index is.
const MAX: usize = 200_000;

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<(RoomNum, EventNum)>,
    /// Of all that ever came.
    came: u64,
    /// The last position of what came.
    last: Pos,
    /// The last position of what was forgotten.
    lost_to: Option<Pos>,
}

impl Queue {
    fn forget(&mut self) {
        self.items.clear();
        self.lost_to = Some(self.last);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    queue: Mutex<Queue>,
    filled: Notify,
}

/// What was taken out.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) items: Vec<(RoomNum, EventNum)>,
    /// Of all that ever came, how many have been taken.
    pub(crate) seq: u64,
    /// Whether nothing is left.
    pub(crate) all: bool,
    /// Up to here, events were forgotten.
    pub(crate) lost_to: Option<Pos>,
}

impl Feed {
    pub(crate) fn push(&self, room: RoomNum, nums: &[EventNum], last: Pos) {
        let mut queue = self.queue.lock();
        let was_empty = queue.items.is_empty();
        queue.came += nums.len() as u64;
        queue.last = queue.last.max(last);
        if queue.items.len() + nums.len() > MAX {
            queue.forget();
        } else {
            queue.items.extend(nums.iter().map(|num| (room, *num)));
        }
        drop(queue);
        if was_empty {
            self.filled.notify_one();
        }
    }

    pub(crate) fn take(&self, limit: usize) -> Taken {
        let mut queue = self.queue.lock();
        let count = limit.min(queue.items.len());
        let items: Vec<_> = queue.items.drain(..count).collect();
        let lost_to = queue.lost_to.take();
        let left = queue.items.len();
        Taken { items, seq: queue.came - left as u64, all: left == 0, lost_to }
    }

    #[cfg(test)]
    pub(crate) fn forget(&self) {
        self.queue.lock().forget();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().items.is_empty()
    }

    /// The last position of all that ever came.
    pub(crate) fn last(&self) -> Pos {
        self.queue.lock().last
    }

    /// Of all that ever came.
    pub(crate) fn came(&self) -> u64 {
        self.queue.lock().came
    }

    /// Returns when something came since the queue was empty last.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_taken_in_order_and_counted() {
        let feed = Feed::default();
        feed.push(1, &[5, 6], 10);
        feed.push(2, &[1], 11);
        let first = feed.take(2);
        assert_eq!((first.items, first.seq, first.all), (vec![(1, 5), (1, 6)], 2, false));
        let second = feed.take(2);
        assert_eq!((second.items, second.seq, second.all), (vec![(2, 1)], 3, true));
        assert_eq!(feed.came(), 3);
    }

    #[test]
    fn too_much_is_forgotten_and_said_to_be() {
        let feed = Feed::default();
        for num in 0..MAX {
            feed.push(1, &[num as u32], num as u64);
        }
        feed.push(1, &[7], 1_000_000);
        feed.push(1, &[8], 1_000_001);
        let taken = feed.take(10);
        assert_eq!((taken.lost_to, taken.seq, taken.all), (Some(1_000_000), MAX as u64 + 2, true));
        assert_eq!(taken.items, [(1, 8)], "what came since is there");
        assert_eq!(feed.take(10).lost_to, None);
    }
}
