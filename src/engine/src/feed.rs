//! What happens in the rooms of this server, in one order: for who follows all of it, such as application services. The rows are
//! written in the commits of what they speak of, only while somebody follows, and go once everybody who follows has read them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use parking_lot::RwLock;
use store::{DbWrite, Page, Pos};

use crate::{
    engine::Engine,
    error::EngineError,
    receipts::{Receipt, key_of},
    staged::EventPlace,
    tables::{EventNum, FEED, RECEIPT_STREAM, RECEIPTS, RoomNum, UserNum},
};

/// Told, after a commit with something for the feed is durable. Called on the committer's thread: it takes a note and returns.
pub type FeedWatcher = Arc<dyn Fn() + Send + Sync>;

/// Rows deleted in one commit.
const TRIMMED: usize = 5000;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEntry {
    /// An event became part of a room.
    Event(EventPlace),
    /// A receipt was set in a room.
    Receipt(RoomNum),
    /// A membership event of a user of ours came from outside of its room.
    Outside(OutsideNews),
}

/// A membership event of a room in which nobody of this server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideNews {
    /// Whose membership it is.
    pub user: UserNum,
    /// The room.
    pub room: RoomNum,
    /// The event as clients get it, without `unsigned`.
    pub event: String,
}

impl store::Value for FeedEntry {
    fn encode(&self) -> Bytes {
        match self {
            Self::Event(place) => [&[1][..], &place.encode()].concat().into(),
            Self::Receipt(room) => [&[2][..], &room.to_be_bytes()].concat().into(),
            Self::Outside(news) => {
                [&[3][..], &news.user.to_be_bytes(), &news.room.to_be_bytes(), news.event.as_bytes()].concat().into()
            }
        }
    }

    fn decode(bytes: Bytes) -> Result<Self, String> {
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).map_err(|_| "wrong length".to_owned());
        match bytes.first() {
            Some(1) => EventPlace::decode(bytes.slice(1..)).map(Self::Event),
            Some(2) => number(&bytes[1..]).map(Self::Receipt),
            Some(3) => {
                let (user, rest) = bytes[1..].split_first_chunk::<8>().ok_or("wrong length")?;
                let (room, event) = rest.split_first_chunk::<8>().ok_or("wrong length")?;
                let event = String::from_utf8(event.to_vec()).map_err(|error| error.to_string())?;
                let (user, room) = (u64::from_be_bytes(*user), u64::from_be_bytes(*room));
                Ok(Self::Outside(OutsideNews { user, room, event }))
            }
            _ => Err("unknown kind".to_owned()),
        }
    }
}

/// Whether anybody follows, and who is told.
#[derive(Default)]
pub(crate) struct Feed {
    followed: AtomicBool,
    watcher: RwLock<Option<FeedWatcher>>,
}

impl Feed {
    pub(crate) fn followed(&self) -> bool {
        self.followed.load(Ordering::Acquire)
    }

    pub(crate) fn tell(&self) {
        if let Some(watcher) = &*self.watcher.read() {
            watcher();
        }
    }

    /// Adds a row of an event, where somebody follows.
    pub(crate) fn event(&self, write: &mut DbWrite<'_>, pos: Pos, room: RoomNum, num: EventNum) {
        if self.followed() {
            write.put(&FEED, &pos, &FeedEntry::Event(EventPlace { room, num }));
        }
    }

    /// Adds another row, where somebody follows.
    pub(crate) fn entry(&self, write: &mut DbWrite<'_>, pos: Pos, entry: impl FnOnce() -> FeedEntry) {
        if self.followed() {
            write.put(&FEED, &pos, &entry());
        }
    }
}

impl Engine {
    /// From now on what happens is kept for who follows it, who is told by `watcher`.
    pub fn follow(&self, watcher: FeedWatcher) {
        let view = self.view();
        *view.feed.watcher.write() = Some(watcher);
        view.feed.followed.store(true, Ordering::Release);
    }

    /// What happened behind a position, in its order. Everything in it is durable.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn feed(&self, after: Pos, limit: usize) -> Result<Vec<(Pos, FeedEntry)>, EngineError> {
        Ok(self.db.scan(&FEED, &after.saturating_add(1), &Pos::MAX, Page::first(limit)).await?)
    }

    /// Deletes what is at a position or before it. Whether there may be more to delete.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn trim_feed(&self, to: Pos) -> Result<bool, EngineError> {
        let rows = self.db.scan(&FEED, &0u64, &to.saturating_add(1), Page::first(TRIMMED)).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        let mut write = self.db.write();
        write.ops(rows.iter().map(|(pos, _)| FEED.delete(pos)));
        write.commit().await?;
        Ok(rows.len() == TRIMMED)
    }

    /// The receipt that was set in a room at a position, where no newer one has taken its place.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn receipt_at(&self, room: RoomNum, pos: Pos) -> Result<Option<Receipt>, EngineError> {
        let place = self.db.get(&RECEIPT_STREAM, &(room, pos)).await?;
        let Some(key) = place.and_then(|place| key_of(room, &place)) else { return Ok(None) };
        let row = self.db.get(&RECEIPTS, &key).await?;
        let (_, user, kind, thread) = key;
        Ok(row.map(|row| Receipt { user, kind, thread, row: row.0 }).filter(|receipt| receipt.row.pos == pos))
    }
}
