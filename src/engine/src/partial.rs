//! Rooms that were entered before all of their members were known: usable at once, their state filled in behind.
//! [send_join](https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid), `omit_members`.
//!
//! Until a room is whole, the states of its events lack members, and an event whose sender is among those is judged with the
//! membership that it cites. Once another server has told the whole state before the event by which we entered, each event since
//! then is judged again, in the order in which they came, with the state that it really had; one that this refuses is taken out of
//! the room, and one that was refused for what was not known is let in. The current state then changes at a position of its own, at which readers find what was missing.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ruma::{OwnedEventId, OwnedServerName, ServerName, events::TimelineEventType};
use serde::{Deserialize, Serialize};
use store::{Page, Pos};

use crate::{
    engine::{Engine, parse},
    error::EngineError,
    head::{Extremity, Head},
    judge::Judging,
    resolution::slot_of,
    room::Room,
    row::{EventRow, StateFrom, Verdict},
    splice::find_fields,
    staged::RelationRow,
    state_tree::{self, NodeId},
    tables::{EVENTS, EventNum, HISTORY, PARTIAL_EVENTS, PARTIAL_ROOMS, RELATIONS, RoomNum, STREAM, ServerNum},
    timeline::HistoryPoint,
    writer::{NewEvent, RoomWriter},
};

/// Events that are judged again in one commit.
const BATCH: usize = 100;
/// Rooms listed at once.
const ROOMS: usize = 100;
/// The servers of a room that are believed when its members are not known, at most.
const SERVERS: usize = 10_000;

/// A room whose members are not all known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialRow {
    /// The event by which this server entered.
    pub event: EventNum,
    /// The server that let us in.
    pub via: ServerNum,
    /// The servers in the room, as that one told them.
    pub servers: Vec<ServerNum>,
}

/// What another server says instead of a room's members when it lets a user in.
#[derive(Debug, Clone)]
pub struct OmittedMembers {
    /// The server.
    pub via: OwnedServerName,
    /// The servers in the room.
    pub servers: Vec<OwnedServerName>,
}

impl OmittedMembers {
    /// The servers that are believed to be in the room, the one that let us in first.
    pub(crate) fn believed(&self) -> impl Iterator<Item = &ServerName> {
        [&self.via].into_iter().chain(self.servers.iter().take(SERVERS)).map(|server| &**server)
    }
}

/// A state as another server tells it.
#[derive(Debug, Clone, Default)]
pub struct ToldState {
    /// What it is made of.
    pub events: Vec<OwnedEventId>,
    /// An event that it is the state before, where the one after it is meant.
    pub then: Option<OwnedEventId>,
}

impl Engine {
    /// The rooms behind a number whose state is not whole, in order, some at a time.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn partial_rooms(&self, after: RoomNum) -> Result<Vec<(RoomNum, PartialRow)>, EngineError> {
        let from = after.saturating_add(1);
        let rows = self.db.scan(&PARTIAL_ROOMS, &from, &RoomNum::MAX, Page::first(ROOMS)).await?;
        Ok(rows.into_iter().map(|(room, row)| (room, row.0)).collect())
    }

    /// Waits until a room's state is whole; not longer than `patience`.
    ///
    /// # Errors
    /// [`EngineError::Partial`] where it still is not.
    pub async fn whole(&self, room: &Room, patience: Duration) -> Result<(), EngineError> {
        if !room.info().partial {
            return Ok(());
        }
        let whole = async {
            loop {
                let mut changed = std::pin::pin!(room.made_whole.notified());
                changed.as_mut().enable();
                if !room.info().partial {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(patience, whole).await.map_err(|_| EngineError::Partial)
    }

    /// The same where nothing is known of one user's membership.
    ///
    /// # Errors
    /// As [`Engine::whole`], and those of the store.
    pub async fn knows_member(&self, room: &Room, user_id: &str, patience: Duration) -> Result<(), EngineError> {
        if !room.info().partial || self.membership(room.num, user_id).await?.is_some() {
            return Ok(());
        }
        self.whole(room, patience).await
    }

    /// Fills in a room's state: `state` is the whole state before `event`, by which this server entered, as another server
    /// says it is; all of it is here, as outliers or otherwise. Does nothing in a room that is whole, or was entered anew since.
    ///
    /// # Errors
    /// [`EngineError::BadEvent`] where part of the state is not here, [`EngineError::Forbidden`] where that state does not allow the
    /// event by which we entered; those of the store.
    pub async fn fill(&self, room: &Arc<Room>, event: EventNum, state: &ToldState) -> Result<(), EngineError> {
        loop {
            let mut writer = self.write(room).await?;
            let done = writer.fill_some(event, state).await?;
            writer.commit().await?;
            if done {
                return Ok(());
            }
        }
    }

    /// The membership of a user that an event cites.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn cited_member(
        &self,
        room: &Room,
        event: EventNum,
        user_id: &str,
    ) -> Result<Option<EventNum>, EngineError> {
        for id in &self.pdu(room, event).await?.auth_events {
            let Some(num) = self.find_event(room.num, id.as_str()).await? else { continue };
            let row = self.event(room.num, num).await?;
            if row.event_type() == "m.room.member" && row.state_key().as_deref() == Some(user_id) {
                return Ok(Some(num));
            }
        }
        Ok(None)
    }

    /// Nobody of this server is in the room any more: its state stays as it is.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stop_filling(&self, room: &Arc<Room>) -> Result<(), EngineError> {
        let mut writer = self.write(room).await?;
        if !writer.head()?.info.local_members.is_empty() {
            return Ok(());
        }
        let since = writer.partial_since().await?;
        if let Some(since) = since {
            writer.filled = Some((since, writer.head()?.row.root));
        }
        writer.forget_partial()?;
        writer.state_changed = true;
        writer.commit().await
    }
}

impl Head {
    /// The room's members are not all known: its servers are those that were told.
    pub(crate) fn set_partial(&mut self, partial: Option<PartialRow>) {
        if let Some(before) = self.partial.take() {
            for server in before.servers {
                self.servers.left(server);
            }
        }
        for server in partial.iter().flat_map(|partial| &partial.servers) {
            self.servers.joined(*server);
        }
        self.info.servers = self.servers.list();
        self.info.partial = partial.is_some();
        self.partial = partial;
    }
}

impl RoomWriter<'_> {
    /// The event staged last is the one by which we entered, and members were left out of the state before it.
    pub(crate) async fn begin_partial(&mut self, event: EventNum, omitted: &OmittedMembers) -> Result<(), EngineError> {
        let mut servers = BTreeSet::new();
        for server in omitted.believed().filter(|server| *server != &*self.engine.identity.server_name) {
            servers.insert(self.engine.server_num(server).await?);
        }
        let via = self.engine.server_num(&omitted.via).await?;
        let row = PartialRow { event, via, servers: servers.into_iter().collect() };
        self.stage(PARTIAL_ROOMS.put(&self.room.num, &store::Json(row.clone())));
        self.head_mut()?.set_partial(Some(row));
        self.state_changed = true;
        Ok(())
    }

    /// The position of the event by which we entered, where members are missing since then.
    pub(crate) async fn partial_since(&self) -> Result<Option<Pos>, EngineError> {
        match &self.head()?.partial {
            Some(partial) => Ok(Some(self.event_row(partial.event).await?.pos())),
            None => Ok(None),
        }
    }

    /// What was known to be missing is so no more, or does not matter any more.
    pub(crate) fn forget_partial(&mut self) -> Result<(), EngineError> {
        if self.head()?.partial.is_none() {
            return Ok(());
        }
        let room = self.room.num;
        self.stage(PARTIAL_ROOMS.delete(&room));
        self.op(PARTIAL_EVENTS.delete_prefix(&room));
        self.head_mut()?.set_partial(None);
        Ok(())
    }

    /// An event about somebody of whom nothing is known cannot be judged before the room is whole.
    pub(crate) async fn check_target_known(&self, event: &NewEvent<'_>) -> Result<(), EngineError> {
        let target = event.state_key.filter(|_| event.event_type == TimelineEventType::RoomMember);
        let Some(target) = target.filter(|_| self.partial()) else { return Ok(()) };
        match self.current("m.room.member", target).await? {
            Some(_) => Ok(()),
            None => Err(EngineError::Partial),
        }
    }

    /// Whether members are missing from the room's state.
    pub(crate) fn partial(&self) -> bool {
        self.head().is_ok_and(|head| head.partial.is_some())
    }

    /// Judges some events again; whether the room is whole now.
    async fn fill_some(&mut self, event: EventNum, state: &ToldState) -> Result<bool, EngineError> {
        // What was queued before has landed behind an empty commit: rows can be listed.
        self.engine.db.write().commit().await?;
        let Some(partial) = self.head()?.partial.clone().filter(|partial| partial.event == event) else {
            return Ok(true);
        };
        let room = self.room.num;
        let waiting = self.engine.db.scan_prefix(&PARTIAL_EVENTS, &room, Page::first(BATCH)).await?;
        for ((_, pos), num) in &waiting {
            if *num == partial.event {
                self.refound(*num, state).await?;
            } else {
                self.judge_again(*num).await?;
            }
            self.stage(PARTIAL_EVENTS.delete(&(room, *pos)));
        }
        if waiting.len() == BATCH {
            return Ok(false);
        }
        let since = self.event_row(partial.event).await?.pos();
        self.forget_partial()?;
        self.settle().await?;
        self.state_changed = true;
        self.filled = Some((since, self.head()?.row.root));
        Ok(true)
    }

    /// The event by which we entered gets the whole state before it.
    async fn refound(&mut self, num: EventNum, state: &ToldState) -> Result<(), EngineError> {
        let ids: BTreeSet<OwnedEventId> = state.events.iter().chain(&state.then).cloned().collect();
        let here = self.here(ids).await?;
        if here.nums.is_empty() || state.events.iter().chain(&state.then).any(|id| !here.nums.contains_key(id)) {
            return Err(EngineError::BadEvent("part of the room's state is missing".to_owned()));
        }
        let mut told = self.stage_told(&here, &state.events)?;
        let then = state.then.as_ref().and_then(|id| Some((here.pdus.get(id)?, *here.nums.get(id)?)));
        if let Some((pdu, then)) = then.filter(|(pdu, _)| !pdu.rejected) {
            let applied = self.branches()?.after(told, pdu, then).await?;
            told = self.stage_nodes(applied);
        }
        let pdu = self.pdu(num).await?;
        let cited = self.references(&pdu).await?.cited;
        if self.judge(&pdu, &cited, told, Judging::default()).await? != Verdict::Accepted {
            return Err(EngineError::Forbidden("the room's state does not allow that we entered".to_owned()));
        }
        self.rewrite(num, told, Verdict::Accepted).await
    }

    /// An event gets the state that it really had before it, and is taken out of the room where that refuses it.
    async fn judge_again(&mut self, num: EventNum) -> Result<(), EngineError> {
        let row = self.event_row(num).await?;
        let pdu = self.pdu(num).await?;
        let references = self.references(&pdu).await?;
        let before = match row.state_from() {
            StateFrom::Graph => self.resolve_after(&references.prev).await?,
            StateFrom::Told | StateFrom::Anew => row.state_before(),
        };
        let verdict = match self.judge(&pdu, &references.cited, before, Judging::default()).await? {
            // What was not allowed by the state as it was then stays out of the way.
            Verdict::Accepted if row.verdict() == Verdict::SoftFailed => Verdict::SoftFailed,
            verdict => verdict,
        };
        self.rewrite(num, before, verdict).await?;
        if row.verdict() != verdict {
            self.rejudge(&pdu)?;
        }
        match (row.verdict(), verdict) {
            (Verdict::Accepted, Verdict::Rejected) => self.take_out(num, &row).await,
            (Verdict::Rejected, Verdict::Accepted) => self.let_in(num, &row).await,
            _ => Ok(()),
        }
    }

    async fn rewrite(&mut self, num: EventNum, before: NodeId, verdict: Verdict) -> Result<(), EngineError> {
        let row = self.event_row(num).await?;
        let replaces = match slot_of(&parse(&row, self.room)?) {
            Some((kind, key)) => state_tree::get(&self.branches()?.nodes(), before, &kind, &key).await?,
            None => None,
        };
        let mut meta = row.meta();
        (meta.state_before, meta.verdict, meta.partial_state) = (before, verdict, false);
        meta.replaces = replaces.unwrap_or_default();
        let fields = find_fields(row.json())
            .ok_or_else(|| EngineError::Inconsistent("a stored event is no event".to_owned()))?;
        let row = EventRow::new(&meta, &fields, row.json());
        self.stage(EVENTS.put(&(self.room.num, num), &row));
        self.rewritten.push((num, row));
        Ok(())
    }

    /// An event that was part of the room is none any more.
    async fn take_out(&mut self, num: EventNum, row: &EventRow) -> Result<(), EngineError> {
        let room = self.room.num;
        self.op(STREAM.delete(&(room, row.pos())));
        self.op(HISTORY.delete(&(room, row.depth(), row.arrival())));
        if let Some((_, target)) = row.relation() {
            self.stage(RELATIONS.delete(&(room, target.to_owned(), row.depth(), row.arrival())));
        }
        self.reordered = true;
        let head = self.head_mut()?;
        let ends = head.row.extremities.len();
        head.row.extremities.retain(|end| end.num != num);
        if head.row.extremities.len() == ends {
            return Ok(());
        }
        // It was an end: what it followed is one now, unless another event of the room follows that.
        let mut open = self.references(&*self.pdu(num).await?).await?.prev;
        let followed = self.followed_since(num).await?;
        while let Some(prev) = open.pop() {
            let row = self.event_row(prev).await?;
            if !row.in_room() {
                open.extend(self.references(&*self.pdu(prev).await?).await?.prev);
                continue;
            }
            let event_id = self.pdu(prev).await?.event_id.clone();
            let known = self.head()?.row.extremities.iter().any(|end| end.num == prev);
            if !known && !followed.contains(&event_id) {
                self.head_mut()?.row.extremities.push(Extremity { num: prev, depth: row.depth(), event_id });
            }
        }
        Ok(())
    }

    /// An event that was refused for what was not known is part of the room after all.
    async fn let_in(&mut self, num: EventNum, row: &EventRow) -> Result<(), EngineError> {
        let room = self.room.num;
        let (pdu, place) = (self.pdu(num).await?, HistoryPoint::before(row));
        self.op(STREAM.put(&(room, row.pos()), &num));
        self.op(HISTORY.put(&(room, row.depth(), row.arrival()), &num));
        if let Some((kind, target)) = row.relation() {
            let relation = RelationRow { num, kind: kind.to_owned(), event_type: row.event_type().into_owned() };
            self.stage(RELATIONS.put(&(room, target.to_owned(), row.depth(), row.arrival()), &relation));
            self.mark_related(target).await?;
            self.mark_thread(kind, target, place).await?;
        }
        self.ops.extend(self.engine.projector.project(room, num, &pdu));
        self.reordered = true;
        if self.followed_since(num).await?.contains(&pdu.event_id) {
            return Ok(());
        }
        let end = Extremity { num, depth: row.depth(), event_id: pdu.event_id.clone() };
        let ends = &mut self.head_mut()?.row.extremities;
        ends.retain(|end| !pdu.prev_events.contains(&end.event_id));
        ends.push(end);
        Ok(())
    }

    /// What events of the room follow that came since we entered, but for one of them.
    async fn followed_since(&self, but: EventNum) -> Result<BTreeSet<OwnedEventId>, EngineError> {
        let Some(partial) = &self.head()?.partial else { return Ok(BTreeSet::new()) };
        let from = self.event_row(partial.event).await?.pos();
        let mut followed = BTreeSet::new();
        let rows = self.engine.db.scan_all(&STREAM, &self.room.num).await?;
        for (_, num) in rows.into_iter().filter(|((_, pos), num)| *pos >= from && *num != but) {
            if self.event_row(num).await?.in_room() {
                followed.extend(self.pdu(num).await?.prev_events.iter().cloned());
            }
        }
        Ok(followed)
    }
}
