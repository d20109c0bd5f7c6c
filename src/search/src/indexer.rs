//! From events to the index, in the background, a little at a time.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use engine::{EventNum, RoomNum};
use store::Pos;
use tantivy::{
    IndexWriter,
    indexer::{IndexWriterOptions, LogMergePolicy, UserOperation},
};
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

use crate::{
    Done, FAILING, Opened, Search,
    cursor::Cursor,
    error::SearchError,
    fields,
    walk::{Found, Step, Walk},
};

/// Events looked at in one go.
const BATCH: usize = 256;
/// The pause after so many, unless somebody waits: who writes to rooms is not to notice.
const REST: Duration = Duration::from_millis(50);
/// How long the first event after a quiet time waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// Changes of the index after which they are made durable.
const COMMIT_EVERY: usize = 20_000;
/// Bytes of events after which they are. Whoever stops the server waits for what was handed over and is not in the index yet.
const COMMIT_BYTES: usize = 2 << 20;
/// Batches that are still looked at when the server stops; what is left is looked for after the next start.
const LAST_STEPS: usize = 4;
/// How long they wait for that otherwise, where nobody searches.
const COMMIT_AFTER: Duration = Duration::from_secs(30);
/// How long the index is left alone after it failed.
const AGAIN: Duration = Duration::from_secs(30);
/// The least memory that a writer takes, in bytes.
const MIN_MEMORY: usize = 15 << 20;
/// The share of removed events from which on a part of the index is written anew without them.
const REMOVED: f32 = 0.2;

impl Search {
    /// Keeps the index up to date until `stop`. What it could not do then is done after the next start. Where the index fails, such as on a
    /// full disk, it is left alone for a while and gone on with from its last commit.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let failure = match Indexer::new(Arc::clone(&self)) {
                Ok(mut indexer) => match indexer.work(stop.as_mut()).await {
                    Ok(()) => return,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            warn!(error = %failure, "the search index was not written; it is tried again");
            // Nobody waits for what does not come.
            self.done.send_replace(Done { seq: FAILING, whole: false });
            tokio::select! {
                () = stop.as_mut() => return,
                () = sleep(AGAIN) => {}
            }
        }
    }

    fn writer(&self) -> Result<IndexWriter, SearchError> {
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(self.memory.max(MIN_MEMORY))
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        let writer = self.index.writer_with_options(options)?;
        let mut policy = LogMergePolicy::default();
        policy.set_del_docs_ratio_before_merge(REMOVED);
        writer.set_merge_policy(Box::new(policy));
        Ok(writer)
    }
}

struct Indexer {
    search: Arc<Search>,
    /// Away only while it is at work.
    writer: Option<IndexWriter>,
    /// What the index has, with what was not committed yet.
    cursor: Cursor,
    /// What comes by the feed is behind this.
    target: Pos,
    walk: Option<Walk>,
    /// Everything up to here came by the feed and was looked at, or was forgotten and is up to `target`.
    looked: Pos,
    seq: u64,
    /// Whether there was nothing in the index at first: then nothing has to be removed before it is added.
    empty: bool,
    changes: usize,
    /// The size of the events behind them.
    bytes: usize,
    /// Events looked at since the last pause.
    looked_at: usize,
    committed: (Cursor, Instant),
}

impl Indexer {
    fn new(search: Arc<Search>) -> Result<Self, SearchError> {
        let writer = search.writer()?;
        let opened = search.opened.lock().take();
        let Opened { cursor, frontier } = match opened {
            Some(opened) => opened,
            // It failed: what was looked at since its last commit is looked for again.
            None => {
                let payload = search.index.load_metas()?.payload.unwrap_or_default();
                Opened { cursor: Cursor::decode(&payload).unwrap_or_default(), frontier: search.feed.last() }
            }
        };
        Ok(Self {
            writer: Some(writer),
            cursor,
            target: frontier,
            walk: None,
            looked: cursor.pos,
            seq: 0,
            empty: cursor == Cursor::default() && search.reader.searcher().num_docs() == 0,
            changes: 0,
            bytes: 0,
            looked_at: 0,
            committed: (cursor, Instant::now()),
            search,
        })
    }

    async fn work(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>) -> Result<(), SearchError> {
        loop {
            let more = self.step().await?;
            let due = self.committed.1 + COMMIT_AFTER;
            if self.is_awaited() || self.changes >= COMMIT_EVERY || (self.changes > 0 && Instant::now() >= due) {
                self.commit().await?;
            }
            let search = Arc::clone(&self.search);
            let asked = search.asked.notified();
            let tired = self.looked_at >= BATCH;
            if tired {
                self.looked_at = 0;
            }
            let pause = async {
                if more && tired && !search.is_awaited() {
                    sleep(REST).await;
                } else if more {
                    yield_now().await;
                } else {
                    // What was gathered is committed when its time has come, also where nothing else does.
                    let news = async {
                        search.feed.filled().await;
                        sleep(GATHER).await;
                    };
                    match self.changes {
                        0 => news.await,
                        _ => drop(timeout(due.saturating_duration_since(Instant::now()), news).await),
                    }
                }
            };
            tokio::select! {
                biased;
                () = stop.as_mut() => break,
                () = asked => {}
                () = pause => {}
            }
        }
        for _ in 0..LAST_STEPS {
            if self.search.feed.is_empty() {
                break;
            }
            self.step().await?;
        }
        self.commit().await
    }

    /// Whether somebody waits for what has been looked at.
    fn is_awaited(&self) -> bool {
        let done = *self.search.done.borrow();
        done.seq < self.search.wanted.load(Ordering::Acquire).min(self.seq) || (self.is_whole() && !done.whole)
    }

    fn is_whole(&self) -> bool {
        self.walk.is_none() && self.cursor.pos >= self.target
    }

    /// Looks at a batch of events. Whether there may be more.
    async fn step(&mut self) -> Result<bool, SearchError> {
        // Read first: whatever is up to here is in the feed, or has been.
        let frontier = self.search.engine.frontier();
        let taken = self.search.feed.take(BATCH);
        if let Some(lost_to) = taken.lost_to {
            debug!(lost_to, "more events than the search index could follow: all rooms are looked through");
            self.target = self.target.max(lost_to);
        }
        self.seq = taken.seq;
        if !taken.items.is_empty() {
            self.looked_at += taken.items.len();
            let found = self.read(&taken.items).await?;
            self.put(found).await?;
        }
        if taken.all {
            self.looked = frontier;
        }
        if !taken.items.is_empty() && !taken.all {
            return Ok(true);
        }
        self.go_on().await
    }

    /// Goes on with looking through all rooms, where that is to be done.
    async fn go_on(&mut self) -> Result<bool, SearchError> {
        if self.is_whole() {
            self.cursor.pos = self.cursor.pos.max(self.looked);
            return Ok(false);
        }
        let (cursor, target) = (self.cursor, self.target);
        let walk = self.walk.get_or_insert_with(|| Walk::new(cursor, target));
        self.looked_at += walk.next_step();
        match walk.step(&self.search.engine).await? {
            Step::Events(events) => self.put(events).await?,
            Step::Room => self.cursor = walk.cursor(),
            Step::End => {
                self.cursor = Cursor { pos: walk.to, ahead: None };
                self.walk = None;
            }
        }
        Ok(true)
    }

    async fn read(&self, items: &[(RoomNum, EventNum)]) -> Result<Vec<Found>, SearchError> {
        let mut found = Vec::with_capacity(items.len());
        for of_room in items.chunk_by(|one, other| one.0 == other.0) {
            let Some((room, _)) = of_room.first() else { continue };
            let nums: Vec<EventNum> = of_room.iter().map(|(_, num)| *num).collect();
            // They landed just now: the engine has them at hand.
            let rows = self.search.engine.events(*room, &nums).await?;
            found.extend(rows.into_iter().map(|(num, row)| (*room, num, row)));
        }
        Ok(found)
    }

    /// Puts events into the index, in place of what it has of them.
    async fn put(&mut self, events: Vec<Found>) -> Result<(), SearchError> {
        let fields = self.search.fields;
        let mut changes = Vec::new();
        for (room, num, row) in events.iter().filter(|(_, _, row)| fields::is_of_interest(row)) {
            let document = fields.document(*room, *num, row);
            if document.is_none() || (row.pos() <= self.target && !self.empty) {
                changes.push(UserOperation::Delete(fields.id(*room, *num)));
            }
            changes.extend(document.map(UserOperation::Add));
            self.bytes += row.json().len();
            if self.bytes >= COMMIT_BYTES {
                self.hand_over(std::mem::take(&mut changes)).await?;
                self.make_durable().await?;
            }
        }
        self.hand_over(changes).await
    }

    async fn hand_over(&mut self, changes: Vec<UserOperation>) -> Result<(), SearchError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.changes += changes.len();
        self.with_writer(move |writer| Ok(writer.run(changes).map(drop)?)).await
    }

    /// Makes what was changed durable, and says up to where searches find everything.
    async fn commit(&mut self) -> Result<(), SearchError> {
        self.make_durable().await?;
        let whole = self.is_whole();
        if whole {
            self.search.built.store(true, Ordering::Release);
        }
        self.search.done.send_replace(Done { seq: self.seq, whole });
        Ok(())
    }

    /// Makes what was changed durable.
    async fn make_durable(&mut self) -> Result<(), SearchError> {
        self.bytes = 0;
        if self.changes > 0 || self.cursor != self.committed.0 {
            let (payload, search) = (self.cursor.encode(), Arc::clone(&self.search));
            self.with_writer(move |writer| {
                let mut commit = writer.prepare_commit()?;
                commit.set_payload(&payload);
                commit.commit()?;
                Ok(search.reader.reload()?)
            })
            .await?;
            self.changes = 0;
            self.committed = (self.cursor, Instant::now());
        }
        Ok(())
    }

    /// Writing waits for the disk and for threads.
    async fn with_writer<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut IndexWriter) -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchError> {
        let mut writer = self.writer.take().ok_or(SearchError::BrokenOff)?;
        let worked = tokio::task::spawn_blocking(move || {
            let result = act(&mut writer);
            (writer, result)
        });
        let (writer, result) = worked.await.map_err(|_| SearchError::BrokenOff)?;
        self.writer = Some(writer);
        result
    }
}
