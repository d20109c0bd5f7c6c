//! Which thread an event belongs to. [Threaded read receipts](https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts).

use engine::Room;

use crate::{ApiError, App, judge::THREAD_STEPS};

/// Receipts of the main timeline.
pub(super) const MAIN: &str = "main";

impl App {
    /// Whether a receipt for an event may name a thread: `main`, or a thread's root.
    pub(super) async fn fits_thread(&self, room: &Room, event_id: &str, thread: &str) -> Result<bool, ApiError> {
        let mut at = event_id.to_owned();
        for _ in 0..=THREAD_STEPS {
            // The root belongs to its thread and, not being in it, to the main timeline.
            if at == thread {
                return Ok(true);
            }
            let Some(num) = self.engine.find_event(room.num, &at).await? else { break };
            let row = self.engine.event(room.num, num).await?;
            match row.relation() {
                Some(("m.thread", root)) => return Ok(root == thread),
                Some((_, target)) => at = target.to_owned(),
                None => break,
            }
        }
        Ok(thread == MAIN)
    }
}
