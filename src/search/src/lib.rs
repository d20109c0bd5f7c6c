//! Finding events by the words in them.
//! [Server side search](https://spec.matrix.org/v1.19/client-server-api/#server-side-search).
//!
//! | module | what it does |
//! | --- | --- |
//! | `words` | words, whatever language they are of |
//! | `fields` | what the index keeps of an event |
//! | `feed` | events that landed and are not looked at yet |
//! | `walk` | events that landed while nobody looked |
//! | `indexer` | from events to the index, in the background |
//! | `cursor` | how far the index is |
//! | `open` | opening it, or beginning anew |
//! | `query`, `collect` | from a text to the events that come first |
//!
//! The index is derived: it can be deleted, and is made again out of the store. Whoever writes to a room leaves a number in a queue and
//! waits for nothing. A search first has what waits in that queue put into the index, so that it finds whatever was acknowledged before.
//! The index knows who may see an event only roughly: whoever shows what was found looks at each event again.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod collect;
mod cursor;
mod error;
mod feed;
mod fields;
mod indexer;
mod open;
mod query;
#[cfg(test)]
mod tests;
mod walk;
mod words;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use engine::{Engine, EventRow};
use parking_lot::Mutex;
use tantivy::{Index, IndexReader};
use tokio::sync::{Notify, Semaphore, watch};

pub use crate::{
    collect::{Hit, Order, Place, Stay},
    error::SearchError,
    fields::Key,
    query::Query,
};
use crate::{cursor::Cursor, feed::Feed, fields::Fields};

/// Searches that run at the same time; more wait.
const AT_ONCE: usize = 2;
/// How long a search waits for what landed before it. After that it goes on with what is in the index.
const PATIENCE: Duration = Duration::from_secs(10);
/// The highlights of one answer, at most.
const MAX_HIGHLIGHTS: usize = 64;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The events that come first, in their order.
    pub hits: Vec<Hit>,
    /// How many there are of which it is sure that the user may see them, on all pages together.
    pub count: u64,
}

/// What has been put into the index.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    /// Of all that came by the feed.
    seq: u64,
    /// Whether what landed before is in it as well.
    whole: bool,
}

/// In place of a number: the index cannot be written at the moment.
const FAILING: u64 = u64::MAX;

/// One who waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The index of all rooms. [`Search::run`] keeps it up to date.
pub struct Search {
    engine: Arc<Engine>,
    index: Index,
    reader: IndexReader,
    fields: Fields,
    /// What the writer may hold in memory, in bytes.
    memory: usize,
    feed: Arc<Feed>,
    /// What was in the index when it was opened, and what it lacks.
    opened: Mutex<Option<Opened>>,
    done: watch::Sender<Done>,
    /// Whether the index was whole at some time: what it lacks then is waited for.
    built: AtomicBool,
    /// How much of the feed somebody waits for.
    wanted: AtomicU64,
    /// How many wait.
    waiting: AtomicUsize,
    asked: Notify,
    places: Arc<Semaphore>,
}

#[derive(Debug, Clone, Copy)]
struct Opened {
    cursor: Cursor,
    /// What is up to here does not come by the feed.
    frontier: store::Pos,
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search").field("done", &*self.done.borrow()).finish_non_exhaustive()
    }
}

impl Search {
    /// Opens the index in a folder, or one in memory where there is none. To be called before anything is written to rooms.
    ///
    /// # Errors
    /// Where it can neither be opened nor made anew.
    pub fn open(engine: Arc<Engine>, folder: Option<&Path>, memory: usize) -> Result<Arc<Self>, SearchError> {
        let (schema, fields) = Fields::new();
        let feed = Arc::new(Feed::default());
        let told = Arc::clone(&feed);
        engine.on_landed(Arc::new(move |room, nums, last| told.push(room, nums, last)));
        let frontier = engine.frontier();
        let open::Opened { index, reader, cursor } = open::open(folder, &schema, frontier)?;
        Ok(Arc::new(Self {
            engine,
            index,
            reader,
            fields,
            memory,
            feed,
            opened: Mutex::new(Some(Opened { cursor, frontier })),
            done: watch::Sender::default(),
            built: AtomicBool::new(cursor != Cursor::default()),
            wanted: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            asked: Notify::new(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }))
    }

    /// Looks for events. Everything that was acknowledged before is found, unless the index is being made anew or cannot be written.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub async fn find(self: &Arc<Self>, query: Query) -> Result<Found, SearchError> {
        self.fresh().await;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| SearchError::BrokenOff)?;
        let search = Arc::clone(self);
        let found = tokio::task::spawn_blocking(move || {
            let _place = place;
            query::run(&search.reader.searcher(), &search.fields, query)
        });
        let collect::Collected { hits, count } = found.await.map_err(|_| SearchError::BrokenOff)??;
        Ok(Found { hits, count })
    }

    /// What of some events' texts made them fit, as it stands there, in lower case.
    pub fn highlights<'a>(text: &str, events: impl IntoIterator<Item = &'a EventRow>) -> Vec<String> {
        let wanted = query::words_of(text);
        let mut out: Vec<String> = Vec::new();
        for (_, text) in events.into_iter().flat_map(fields::texts) {
            for word in words::of_text(&text) {
                let found = text.get(word.place).filter(|_| wanted.contains(&word.text)).map(str::to_lowercase);
                if let Some(found) = found.filter(|found| !out.contains(found)) {
                    out.push(found);
                }
                if out.len() == MAX_HIGHLIGHTS {
                    return out;
                }
            }
        }
        out
    }

    /// Returns when what landed before is in the index, or that takes too long.
    async fn fresh(&self) {
        let wanted = self.feed.came();
        let is_enough = |done: &Done| {
            let built = self.built.load(Ordering::Acquire);
            // While it fails, nobody knows when there will be more.
            done.seq == FAILING || (done.seq >= wanted && (done.whole || !built))
        };
        let _ = tokio::time::timeout(PATIENCE, self.until(is_enough, wanted)).await;
    }

    /// Returns when everything that landed before is in the index, also what landed while nobody looked.
    pub async fn caught_up(&self) {
        let wanted = self.feed.came();
        self.until(|done| done.whole && done.seq >= wanted, wanted).await;
    }

    async fn until(&self, is_enough: impl Fn(&Done) -> bool, wanted: u64) {
        let mut done = self.done.subscribe();
        if is_enough(&done.borrow()) {
            return;
        }
        let _waiting = Waiting::new(&self.waiting);
        self.wanted.fetch_max(wanted, Ordering::AcqRel);
        self.asked.notify_one();
        // It only ends early where the index is gone.
        let _ = done.wait_for(is_enough).await;
    }

    fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }
}
