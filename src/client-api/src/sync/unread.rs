//! Unread counts: derived from the push rules when a sync asks, off the path of whoever sends.

use std::collections::BTreeMap;

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
    /// The receipts that are taken into account.
    receipts: Pos,
    /// Events since the last checkpoint.
    fresh: u64,
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
        if counted.counts.evaluated < to && room.pulse.timeline() > counted.counts.evaluated {
            self.count(room, viewer, &mut counted, to).await?;
        }
        counted.counts.evaluated = counted.counts.evaluated.max(to);
        if counted.fresh >= CHECKPOINT {
            counted.fresh = 0;
            self.users.unread.store(viewer.num, room.num, counted.counts.clone());
        }
        self.sync.counts.insert(key, counted.clone());
        Ok(counted.counts)
    }

    /// Starts again behind the newest receipt, where that moved; nothing counts from before the user joined.
    async fn apply_receipts(&self, room: &Room, viewer: &Viewer<'_>, counted: &mut Counted) -> Result<(), ApiError> {
        let newest = room.pulse.receipts();
        let mut read = viewer.place.map_or(0, |place| place.since);
        let mut thread_reads: BTreeMap<OwnedEventId, Pos> = BTreeMap::new();
        if newest > counted.receipts || counted.receipts == 0 {
            for receipt in self.engine.receipts_of(room.num, viewer.num).await? {
                let pos = self.engine.event(room.num, receipt.row.num).await?.pos();
                match OwnedEventId::try_from(receipt.thread.as_str()) {
                    Ok(thread) => {
                        let place = thread_reads.entry(thread).or_default();
                        *place = pos.max(*place);
                    }
                    Err(_) => read = read.max(pos),
                }
            }
            counted.receipts = newest.max(1);
        }
        if read > counted.counts.read {
            // Counting again from there is exact; what was counted before it is read.
            counted.counts = Counts { evaluated: read, read, ..Counts::default() };
        }
        counted.counts.threads.retain(|thread, _| !thread_reads.contains_key(thread));
        Ok(())
    }

    async fn count(&self, room: &Room, viewer: &Viewer<'_>, counted: &mut Counted, to: Pos) -> Result<(), ApiError> {
        let rules = self.users.push_rules.compiled(viewer.num).await?;
        let ignored = self.users.account_data.ignored(viewer.num).await?;
        let mut name = None;
        loop {
            let page = self.engine.stream(room.num, counted.counts.evaluated, to, PAGE, Direction::Forward).await?;
            let nums: Vec<_> = page.iter().map(|(_, num)| *num).collect();
            for (_, row) in self.engine.events(room.num, &nums).await? {
                counted.fresh += 1;
                let own = row.sender_num() == viewer.num;
                if own || row.is_redacted() || ignored.iter().any(|id| id.as_str() == row.sender()) {
                    continue;
                }
                if name.is_none() {
                    name = Some(self.display_name(room, viewer).await?);
                }
                let display_name = name.as_deref().unwrap_or_default();
                self.count_event(room, viewer, &row, &rules, display_name, &mut counted.counts).await?;
            }
            match page.last() {
                Some((pos, _)) if page.len() == PAGE => counted.counts.evaluated = *pos,
                _ => return Ok(()),
            }
        }
    }

    async fn count_event(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        row: &EventRow,
        rules: &CompiledRules,
        display_name: &str,
        counts: &mut Counts,
    ) -> Result<(), ApiError> {
        let Ok(event) = PushEvent::parse(row.json()) else { return Ok(()) };
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
        let thread = row.relation().filter(|(kind, _)| *kind == "m.thread");
        let place: &mut UnreadCounts = match thread.and_then(|(_, root)| OwnedEventId::try_from(root).ok()) {
            Some(root) => counts.threads.entry(root).or_default(),
            None => &mut counts.main,
        };
        place.notifications += u64::from(actions.notify);
        place.highlights += u64::from(actions.highlight);
        Ok(())
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
    let mut all = counts.main;
    for thread in counts.threads.values() {
        all.notifications += thread.notifications;
        all.highlights += thread.highlights;
    }
    format!(",\"unread_notifications\":{}", one(&all))
}
