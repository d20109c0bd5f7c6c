//! Who is told that something happened in a room, besides those who wait in a long poll: what works off what was committed, at its own pace.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::{
    engine::Engine,
    tables::{RoomNum, UserNum},
};

/// What a durable commit brought to a room.
#[derive(Debug, Clone)]
pub struct News {
    /// The room.
    pub room: RoomNum,
    /// Its members on this server, where the room's timeline has grown.
    pub members: Option<Arc<[UserNum]>>,
    /// Local users whom it concerns besides: whose place in the room changed, or who have read in it.
    pub users: Vec<UserNum>,
}

/// Told of each commit before readers see it. Called on the committer's thread: it notes and returns.
pub type NewsWatcher = Arc<dyn Fn(News) + Send + Sync>;

/// Who is told.
#[derive(Default)]
pub(crate) struct NewsWatchers(RwLock<Vec<NewsWatcher>>);

impl NewsWatchers {
    pub(crate) fn tell(&self, news: impl FnOnce() -> News) {
        let watchers = self.0.read();
        if let Some((last, others)) = watchers.split_last() {
            let news = news();
            for watcher in others {
                watcher(news.clone());
            }
            last(news);
        }
    }
}

impl Engine {
    /// Adds who is told of every commit to a room, beside those who are already.
    pub fn on_news(&self, watcher: NewsWatcher) {
        self.view().news.0.write().push(watcher);
    }
}
