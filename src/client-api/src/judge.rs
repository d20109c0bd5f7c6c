//! What an event is to a user: whether their push rules ask for a notification, and whether they have read it.

use std::collections::BTreeMap;

use engine::{EventRow, Room, RoomNum, UserNum, Viewer};
use ruma::{
    OwnedEventId,
    events::room::power_levels::{RoomPowerLevels, RoomPowerLevelsEventContent, RoomPowerLevelsSource},
    push::PushConditionPowerLevelsCtx,
};
use store::Pos;
use users::push::{Actions, CompiledRules, PushContext, PushEvent};

use crate::{ApiError, App};

/// Positions of the events up to which a user has read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reads {
    /// Everything.
    pub(crate) all: Pos,
    /// The main timeline.
    main: Pos,
    /// Threads, by their root.
    threads: BTreeMap<OwnedEventId, Pos>,
}

impl Reads {
    /// Up to where a thread was read; `None` is the main timeline.
    pub(crate) fn of(&self, thread: Option<&OwnedEventId>) -> Pos {
        let apart = thread.map_or(self.main, |root| self.threads.get(root).copied().unwrap_or_default());
        apart.max(self.all)
    }
}

/// Relations followed from an event to the thread that it is in, at most.
/// [Threaded read receipts](https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts) name three.
pub(crate) const THREAD_STEPS: usize = 3;

impl App {
    /// The root of the thread that an event is in, by itself or through what it relates to: an edit of a reply, a reaction.
    pub(crate) async fn thread_of(&self, room: RoomNum, row: &EventRow) -> Result<Option<OwnedEventId>, ApiError> {
        let owned = |(kind, id): (&str, &str)| (kind.to_owned(), id.to_owned());
        let mut relation = row.relation().map(owned);
        for _ in 0..=THREAD_STEPS {
            let Some((kind, id)) = relation else { return Ok(None) };
            if kind == "m.thread" {
                return Ok(OwnedEventId::try_from(id).ok());
            }
            let Some(num) = self.engine.find_event(room, &id).await? else { return Ok(None) };
            relation = self.engine.event(room, num).await?.relation().map(owned);
        }
        Ok(None)
    }

    /// Up to where the receipts say that a user has read. `each` is told of every receipt where in the stream it was set, and for which thread
    /// where it is for one.
    pub(crate) async fn reads(
        &self,
        room: RoomNum,
        user: UserNum,
        mut each: impl FnMut(Pos, Option<Option<OwnedEventId>>),
    ) -> Result<Reads, ApiError> {
        let mut reads = Reads::default();
        for receipt in self.engine.receipts_of(room, user).await? {
            let pos = self.engine.event(room, receipt.row.num).await?.pos();
            let (place, thread) = match (receipt.thread.as_str(), OwnedEventId::try_from(receipt.thread.as_str())) {
                ("main", _) => (&mut reads.main, Some(None)),
                (_, Ok(root)) => (reads.threads.entry(root.clone()).or_default(), Some(Some(root))),
                _ => (&mut reads.all, None),
            };
            *place = pos.max(*place);
            each(receipt.row.pos, thread);
        }
        Ok(reads)
    }

    /// What a user's push rules ask for on an event of a room that they are in.
    pub(crate) async fn actions(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        row: &EventRow,
        rules: &CompiledRules,
        display_name: &str,
    ) -> Result<Actions, ApiError> {
        let Ok(event) = PushEvent::parse(row.json()) else { return Ok(Actions::default()) };
        // Only rules about the whole room ask who may notify it.
        let levels = if row.content().contains("room") { self.notification_levels(room).await? } else { None };
        // Most events are in no thread, and most users ask nothing of those.
        let thread = if rules.ask_subscription() { self.thread_of(room.num, row).await? } else { None };
        let follows_thread = match thread {
            Some(root) => {
                let row = self.users.threads.get(viewer.num, room.num, &root).await?;
                Some(row.is_some_and(|row| row.subscribed.is_some()))
            }
            None => None,
        };
        let context = PushContext {
            user_id: viewer.user_id,
            room_id: &room.id,
            member_count: room.info().joined,
            display_name,
            power_levels: levels.as_ref(),
            follows_thread,
        };
        Ok(rules.evaluate(&event, &context).clone())
    }

    /// The user's name in a room; empty where they have none.
    pub(crate) async fn display_name(&self, room: &Room, viewer: &Viewer<'_>) -> Result<String, ApiError> {
        Ok(self.name_in(room.num, viewer.user_id.as_str()).await?.unwrap_or_default())
    }

    /// The name of a member of a room.
    pub(crate) async fn name_in(&self, room: RoomNum, user_id: &str) -> Result<Option<String>, ApiError> {
        #[derive(serde::Deserialize)]
        struct Content {
            displayname: Option<String>,
        }
        let row = self.engine.current_event(room, "m.room.member", user_id).await?;
        let content = row.and_then(|row| serde_json::from_str::<Content>(row.content()).ok());
        Ok(content.and_then(|content| content.displayname))
    }

    async fn notification_levels(&self, room: &Room) -> Result<Option<PushConditionPowerLevelsCtx>, ApiError> {
        let Some(levels) = self.engine.current_pdu(room, "m.room.power_levels", "").await? else { return Ok(None) };
        let Some(auth) = room.info().auth.clone() else { return Ok(None) };
        let Ok(content) = serde_json::from_str::<RoomPowerLevelsEventContent>(levels.content.get()) else {
            return Ok(None);
        };
        let creators = auth.creators().map(|creators| creators.iter().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let levels =
            RoomPowerLevels::new(RoomPowerLevelsSource::Original(content), &room.rules.authorization, creators);
        Ok(Some(levels.into()))
    }
}
