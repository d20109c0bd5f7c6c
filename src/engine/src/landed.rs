//! Who wants to know of every event that lands: whatever follows all rooms and keeps something derived from them.

use std::sync::Arc;

use parking_lot::RwLock;
use smallvec::SmallVec;
use store::Pos;

use crate::{
    engine::Engine,
    row::EventRow,
    tables::{EventNum, RoomNum},
};

/// Told of the events of a room whose rows a commit wrote, new ones and such as it emptied, and of the commit's last position. Called on
/// the committer's thread, when the rows can be read and before the frontier moves past them: it takes note and returns.
pub type LandedWatcher = Arc<dyn Fn(RoomNum, &[EventNum], Pos) + Send + Sync>;

/// Who is told.
#[derive(Default)]
pub(crate) struct Following(RwLock<Option<LandedWatcher>>);

impl Following {
    /// What there is to tell of a commit; nothing where nobody listens.
    pub(crate) fn nums(&self, lists: [&[(EventNum, EventRow)]; 2]) -> SmallVec<[EventNum; 8]> {
        match *self.0.read() {
            Some(_) => lists.into_iter().flatten().map(|(num, _)| *num).collect(),
            None => SmallVec::new(),
        }
    }

    pub(crate) fn tell(&self, room: RoomNum, nums: &[EventNum], last: Pos) {
        if !nums.is_empty()
            && let Some(watcher) = &*self.0.read()
        {
            watcher(room, nums, last);
        }
    }
}

impl Engine {
    /// Sets who is told of every event that lands.
    pub fn on_landed(&self, watcher: LandedWatcher) {
        *self.view().following.0.write() = Some(watcher);
    }
}
