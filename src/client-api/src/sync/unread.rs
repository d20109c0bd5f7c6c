//! Unread counts: derived from the push rules when a sync asks, off the path of whoever sends.

use std::{collections::BTreeSet, sync::Arc};

use engine::{Direction, Room, Viewer};
use ruma::OwnedEventId;
use serde_json::json;
use store::Pos;
use users::unread::{Counts, UnreadCounts};

use crate::{ApiError, App, judge::Reads};

/// Events looked at in one go.
const PAGE: usize = 200;
/// Events after which a checkpoint is written, so that a restart counts no more than these again.
const CHECKPOINT: u64 = 100;

/// Counts in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    counts: Counts,
    /// Up to where the user has read; `None` until the receipts were looked at.
    reads: Option<Arc<Reads>>,
    /// Events since the last checkpoint.
    fresh: u64,
}

/// Threads by their root; `None` is the main timeline.
type Threads = BTreeSet<Option<OwnedEventId>>;

/// What is counted.
struct Stretch<'a> {
    /// Events behind this position.
    after: Pos,
    /// Up to this one.
    to: Pos,
    /// Of these threads only, where given.
    only: Option<&'a Threads>,
}

impl App {
    /// What is unread for the user up to a position.
    pub(crate) async fn unread(&self, room: &Room, viewer: &Viewer<'_>, to: Pos) -> Result<Counts, ApiError> {
        let key = (viewer.num, room.num);
        let mut counted = match self.sync.counts.get(&key) {
            Some(counted) => counted,
            None => Counted {
                counts: self.users.unread.load(viewer.num, room.num).await?.unwrap_or_default(),
                ..Counted::default()
            },
        };
        self.apply_receipts(room, viewer, &mut counted).await?;
        let after = counted.counts.evaluated;
        if after < to && room.pulse.timeline() > after {
            self.count(room, viewer, &mut counted, Stretch { after, to, only: None }).await?;
        }
        counted.counts.evaluated = counted.counts.evaluated.max(to);
        if counted.fresh >= CHECKPOINT {
            counted.fresh = 0;
            self.users.unread.store(viewer.num, room.num, counted.counts.clone());
        }
        self.sync.counts.insert(key, counted.clone());
        Ok(counted.counts)
    }

    /// Where receipts moved, counts again what they speak of; nothing counts from before the user joined.
    async fn apply_receipts(&self, room: &Room, viewer: &Viewer<'_>, counted: &mut Counted) -> Result<(), ApiError> {
        let newest = room.pulse.receipts();
        let joined = viewer.place.map_or(0, |place| place.since);
        let mut moved = Threads::new();
        let mut reads = match counted.reads.take() {
            Some(reads) if newest <= counted.counts.receipts => reads,
            _ => Arc::new(self.fresh_reads(room, viewer, &mut counted.counts, newest, &mut moved).await?),
        };
        if reads.all < joined {
            Arc::make_mut(&mut reads).all = joined;
        }
        let counts = &mut counted.counts;
        if reads.all > counts.read {
            // Counting again from there is exact; what was counted before it is read.
            *counts = Counts { evaluated: reads.all, read: reads.all, receipts: counts.receipts, ..Counts::default() };
            moved.clear();
        }
        for thread in &moved {
            match thread {
                Some(root) => drop(counts.threads.remove(root)),
                None => counts.main = UnreadCounts::default(),
            }
        }
        let (after, to) = (moved.iter().map(|thread| reads.of(thread.as_ref())).min(), counts.evaluated);
        counted.reads = Some(reads);
        match after.filter(|after| *after < to) {
            Some(after) => self.count(room, viewer, counted, Stretch { after, to, only: Some(&moved) }).await,
            None => Ok(()),
        }
    }

    /// Up to where the receipts say that the user has read. Those that the counts do not know of yet go to `moved`.
    async fn fresh_reads(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        counts: &mut Counts,
        newest: Pos,
        moved: &mut Threads,
    ) -> Result<Reads, ApiError> {
        let known = counts.receipts;
        counts.receipts = known.max(newest);
        self.reads(room.num, viewer.num, |set_at, thread| {
            counts.receipts = counts.receipts.max(set_at);
            moved.extend(thread.filter(|_| set_at > known));
        })
        .await
    }

    async fn count(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        counted: &mut Counted,
        stretch: Stretch<'_>,
    ) -> Result<(), ApiError> {
        let rules = self.users.push_rules.compiled(viewer.num).await?;
        let ignored = self.users.account_data.ignored(viewer.num).await?;
        let reads = counted.reads.clone().unwrap_or_default();
        let mut name = None;
        let mut after = stretch.after;
        loop {
            let page = self.engine.stream(room.num, after, stretch.to, PAGE, Direction::Forward).await?;
            let nums: Vec<_> = page.iter().map(|(_, num)| *num).collect();
            for (_, row) in self.engine.events(room.num, &nums).await? {
                counted.fresh += 1;
                let thread = self.thread_of(room.num, &row).await?;
                let read = row.pos() <= reads.of(thread.as_ref());
                let elsewhere = stretch.only.is_some_and(|only| !only.contains(&thread));
                let own = row.sender_num() == viewer.num;
                if read || elsewhere || own || row.is_redacted() || ignored.iter().any(|id| id.as_str() == row.sender())
                {
                    continue;
                }
                if name.is_none() && rules.ask_display_name() {
                    name = Some(self.display_name(room, viewer).await?);
                }
                let display_name = name.as_deref().unwrap_or_default();
                let actions = self.actions(room, viewer, &row, &rules, display_name).await?;
                let weight =
                    UnreadCounts { notifications: u64::from(actions.notify), highlights: u64::from(actions.highlight) };
                add(&mut counted.counts, thread, weight);
            }
            match page.last() {
                Some((pos, _)) if page.len() == PAGE => after = *pos,
                _ => return Ok(()),
            }
        }
    }
}

/// Threads in which nothing notifies are not listed.
fn add(counts: &mut Counts, thread: Option<OwnedEventId>, weight: UnreadCounts) {
    if weight == UnreadCounts::default() {
        return;
    }
    let place = match thread {
        Some(root) => counts.threads.entry(root).or_default(),
        None => &mut counts.main,
    };
    place.notifications += weight.notifications;
    place.highlights += weight.highlights;
}

/// `,"unread_notifications":…`, with or without threads apart.
pub(super) fn to_json(counts: &Counts, by_thread: bool) -> String {
    let one = |counts: &UnreadCounts| json!({"notification_count": counts.notifications, "highlight_count": counts.highlights});
    if by_thread {
        let threads: serde_json::Map<_, _> =
            counts.threads.iter().map(|(root, counts)| (root.to_string(), one(counts))).collect();
        return format!(
            ",\"unread_notifications\":{},\"unread_thread_notifications\":{}",
            one(&counts.main),
            serde_json::Value::Object(threads)
        );
    }
    format!(",\"unread_notifications\":{}", one(&total(counts)))
}

/// Threads and all.
pub(crate) fn total(counts: &Counts) -> UnreadCounts {
    let mut all = counts.main;
    for thread in counts.threads.values() {
        all.notifications += thread.notifications;
        all.highlights += thread.highlights;
    }
    all
}
