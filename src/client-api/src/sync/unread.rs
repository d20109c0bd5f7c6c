//! Unread counts: derived from the push rules when a sync asks, off the path of whoever sends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::{Direction, EventRow, Room, Viewer};
use ruma::{OwnedEventId, push::PushConditionPowerLevelsCtx};
use serde_json::json;
use store::Pos;
use users::{
    push::{CompiledRules, PushContext, PushEvent},
    unread::{Counts, UnreadCounts},
};

use crate::{ApiError, App};

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

/// Positions of the events up to which a user has read.
#[derive(Debug, Clone, Default)]
struct Reads {
    /// Everything.
    all: Pos,
    /// The main timeline.
    main: Pos,
    /// Threads, by their root.
    threads: BTreeMap<OwnedEventId, Pos>,
}

impl Reads {
    fn of(&self, thread: Option<&OwnedEventId>) -> Pos {
        let apart = thread.map_or(self.main, |root| self.threads.get(root).copied().unwrap_or_default());
        apart.max(self.all)
    }
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
    pub(super) async fn unread(&self, room: &Room, viewer: &Viewer<'_>, to: Pos) -> Result<Counts, ApiError> {
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
            _ => Arc::new(self.reads(room, viewer, &mut counted.counts, newest, &mut moved).await?),
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
    async fn reads(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        counts: &mut Counts,
        newest: Pos,
        moved: &mut Threads,
    ) -> Result<Reads, ApiError> {
        let mut reads = Reads::default();
        let known = counts.receipts;
        counts.receipts = known.max(newest);
        for receipt in self.engine.receipts_of(room.num, viewer.num).await? {
            let pos = self.engine.event(room.num, receipt.row.num).await?.pos();
            let (place, thread) = match (receipt.thread.as_str(), OwnedEventId::try_from(receipt.thread.as_str())) {
                ("main", _) => (&mut reads.main, Some(None)),
                (_, Ok(root)) => (reads.threads.entry(root.clone()).or_default(), Some(Some(root))),
                _ => (&mut reads.all, None),
            };
            *place = pos.max(*place);
            counts.receipts = counts.receipts.max(receipt.row.pos);
            moved.extend(thread.filter(|_| receipt.row.pos > known));
        }
        Ok(reads)
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
                let thread = thread_of(&row);
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
                let weight = self.weigh(room, viewer, &row, &rules, display_name).await?;
                add(&mut counted.counts, thread, weight);
            }
            match page.last() {
                Some((pos, _)) if page.len() == PAGE => after = *pos,
                _ => return Ok(()),
            }
        }
    }

    /// What one event adds.
    async fn weigh(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        row: &EventRow,
        rules: &CompiledRules,
        display_name: &str,
    ) -> Result<UnreadCounts, ApiError> {
        let Ok(event) = PushEvent::parse(row.json()) else { return Ok(UnreadCounts::default()) };
        // Only rules about the whole room ask who may notify it.
        let levels = if row.content().contains("room") { self.notification_levels(room).await? } else { None };
        let context = PushContext {
            user_id: viewer.user_id,
            room_id: &room.id,
            member_count: room.info().joined,
            display_name,
            power_levels: levels.as_ref(),
        };
        let actions = rules.evaluate(&event, &context);
        Ok(UnreadCounts { notifications: u64::from(actions.notify), highlights: u64::from(actions.highlight) })
    }

    async fn display_name(&self, room: &Room, viewer: &Viewer<'_>) -> Result<String, ApiError> {
        #[derive(serde::Deserialize)]
        struct Content {
            displayname: Option<String>,
        }
        let row = self.engine.current_event(room.num, "m.room.member", viewer.user_id.as_str()).await?;
        let content = row.and_then(|row| serde_json::from_str::<Content>(row.content()).ok());
        Ok(content.and_then(|content| content.displayname).unwrap_or_default())
    }

    async fn notification_levels(&self, room: &Room) -> Result<Option<PushConditionPowerLevelsCtx>, ApiError> {
        let Some(levels) = self.engine.current_pdu(room, "m.room.power_levels", "").await? else { return Ok(None) };
        let Some(auth) = room.info().auth.clone() else { return Ok(None) };
        let Ok(content) =
            serde_json::from_str::<ruma::events::room::power_levels::RoomPowerLevelsEventContent>(levels.content.get())
        else {
            return Ok(None);
        };
        let creators = auth.creators().map(|creators| creators.iter().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let levels = ruma::events::room::power_levels::RoomPowerLevels::new(
            ruma::events::room::power_levels::RoomPowerLevelsSource::Original(content),
            &room.rules.authorization,
            creators,
        );
        Ok(Some(levels.into()))
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

/// The root of the thread that an event is in.
fn thread_of(row: &EventRow) -> Option<OwnedEventId> {
    let (_, root) = row.relation().filter(|(kind, _)| *kind == "m.thread")?;
    OwnedEventId::try_from(root).ok()
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
pub(super) fn total(counts: &Counts) -> UnreadCounts {
    let mut all = counts.main;
    for thread in counts.threads.values() {
        all.notifications += thread.notifications;
        all.highlights += thread.highlights;
    }
    all
}
