//! Events that other servers made: judged, stored, and merged into the room.
//!
//! The caller has checked form, signatures and hash ([`room::check::check_received`]). Whatever the verdict, the event is stored, so
//! that it is judged once; only an accepted one is in the room's orders, moves its end and changes its state.

use std::{collections::BTreeSet, sync::Arc};

use ::room::{Pdu, SignedEvent, check::ReceivedEvent};
use ruma::{OwnedEventId, events::TimelineEventType};
use store::{IdKind, Page};

use crate::{
    engine::Engine,
    error::EngineError,
    head::{Extremity, Head, HeadRow},
    load,
    resolution::slot_of,
    room::{Room, RoomInfo},
    row::{EventMeta, EventRow, Verdict, Visibility},
    splice::find_fields,
    staged::{EventPlace, RelationRow, Staged},
    state_tree::{self, NodeId},
    tables::{EVENT_IDS, EVENTS, EventNum, PARKED_REDACTIONS, RELATIONS},
    timeline::HistoryPoint,
    writer::{Appended, NewEvent, RoomWriter, label, relation, visibility_across},
};

/// Relations looked at when their target comes after them, at most.
const LATE_RELATIONS: usize = 1000;

/// What became of a received event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Received {
    /// It was here before.
    Known(EventNum),
    /// It cannot be judged before these events are here, which it follows or cites. Nothing was stored.
    Missing(Vec<OwnedEventId>),
    /// It is stored.
    Stored {
        /// Its number.
        num: EventNum,
        /// Whether it is part of the room.
        verdict: Verdict,
    },
}

/// Places in an event's graph: what it follows and what it cites, as numbers.
struct References {
    prev: Vec<EventNum>,
    cited: Vec<EventNum>,
}

impl Engine {
    /// Takes an event of a room from another server. It is durable when this returns.
    ///
    /// # Errors
    /// [`EngineError::BadEvent`] for an event of another room, [`EngineError::Conflict`] where trying again may work, and those of
    /// the store.
    pub async fn receive(&self, room: &Arc<Room>, event: ReceivedEvent) -> Result<Received, EngineError> {
        self.take(room, event, false).await
    }

    /// The same for an event that its server gave to this one alone, to pass it on: a membership that was sent with `send_join` and
    /// its like. Where it is accepted, its own commit queues it for the other servers that take part.
    ///
    /// # Errors
    /// As [`Engine::receive`].
    pub async fn receive_and_relay(&self, room: &Arc<Room>, event: ReceivedEvent) -> Result<Received, EngineError> {
        self.take(room, event, true).await
    }

    async fn take(&self, room: &Arc<Room>, event: ReceivedEvent, relay: bool) -> Result<Received, EngineError> {
        // Naming a new user or server is a commit of its own: not under the lock.
        self.user_num(&event.pdu.sender).await?;
        self.server_num(event.pdu.sender.server_name()).await?;
        loop {
            let mut writer = self.write(room).await?;
            writer.relay = relay;
            let received = writer.receive(event.clone()).await?;
            match received {
                Received::Stored { .. } => writer.commit().await?,
                Received::Missing(_) => {}
                Received::Known(num) => {
                    drop(writer);
                    // It may still wait for its sync: answer no earlier than it, and only if it landed.
                    self.db.write().commit().await?;
                    if self.find_event(room.num, event.pdu.event_id.as_str()).await? != Some(num) {
                        continue;
                    }
                }
            }
            return Ok(received);
        }
    }

    /// A room of which the create event alone is known, as the start of its history. Gives the room where it is here already.
    ///
    /// # Errors
    /// [`EngineError::UnsupportedVersion`]; [`EngineError::BadEvent`] where it is no create event, [`EngineError::Forbidden`] where
    /// the rules refuse it.
    pub async fn receive_create(&self, event: ReceivedEvent) -> Result<Arc<Room>, EngineError> {
        if event.pdu.event_type != TimelineEventType::RoomCreate {
            return Err(EngineError::BadEvent("not a create event".to_owned()));
        }
        let version = load::version_in(event.pdu.content.get())?;
        let rules = Self::rules(&version)?;
        let room_id = event.pdu.room_id.clone();
        match self.room(&room_id).await {
            Err(EngineError::UnknownRoom) => {}
            known => return known,
        }
        self.user_num(&event.pdu.sender).await?;
        let num = self.ids.number(IdKind::Room, room_id.as_str()).await?;
        let head = Head::new(HeadRow::empty(), None, RoomInfo::empty());
        let room = Arc::new(Room::new(num, room_id, version, rules, head));
        let mut writer = RoomWriter::of_new_room(self, &room).await?;
        match writer.receive(event).await? {
            Received::Stored { verdict: Verdict::Accepted, .. } => {
                self.announce(&room);
                if let Err(error) = writer.commit().await {
                    self.withdraw(&room);
                    return Err(error);
                }
            }
            _ => return Err(EngineError::Forbidden("the rules refuse this create event".to_owned())),
        }
        self.register(&room);
        Ok(room)
    }
}

impl RoomWriter<'_> {
    /// Judges and stages an event that came from another server.
    ///
    /// # Errors
    /// As [`Engine::receive`]; the writer is then of no more use.
    pub async fn receive(&mut self, event: ReceivedEvent) -> Result<Received, EngineError> {
        let pdu = &event.pdu;
        if pdu.room_id != self.room.id {
            return Err(EngineError::BadEvent("the event is of another room".to_owned()));
        }
        if pdu.prev_events.len() > ::room::build::MAX_PREV_EVENTS
            || pdu.auth_events.len() > ::room::build::MAX_AUTH_EVENTS
        {
            return Err(EngineError::BadEvent("the event refers to too many others".to_owned()));
        }
        if let Some(num) = self.find(&pdu.event_id).await? {
            return Ok(Received::Known(num));
        }
        let references = match self.references(pdu).await? {
            Ok(references) => references,
            Err(missing) => return Ok(Received::Missing(missing)),
        };
        let before = self.state_before(pdu, &references.prev).await?;
        let verdict = self.judge(pdu, &references.cited, before).await?;
        let num = self.land(event, &references, before, verdict).await?;
        Ok(Received::Stored { num, verdict })
    }

    /// Stages an event of ours where the room has more ends than one event can follow.
    pub(crate) async fn append_to_some(
        &mut self,
        event: &NewEvent<'_>,
        signed: SignedEvent,
    ) -> Result<Appended, EngineError> {
        let SignedEvent { json, pdu, reference_hash } = signed;
        let event_id = pdu.event_id.clone();
        let refused = || EngineError::Forbidden("the branches that the event can follow do not allow it".to_owned());
        let received = self.receive(ReceivedEvent { json, pdu, redacted: false, reference_hash }).await?;
        let Received::Stored { num, verdict: Verdict::Accepted } = received else { return Err(refused()) };
        if let Some(staged) = self.staged.iter_mut().find(|staged| staged.num == num) {
            let json = staged.row.json().to_owned();
            let fields = find_fields(&json).ok_or_else(refused)?;
            let mut meta = staged.row.meta();
            (meta.device, meta.txn_id) = (label(event.device), label(event.txn_id));
            staged.row = EventRow::new(&meta, &fields, &json);
        }
        Ok(Appended { num, event_id })
    }

    async fn references(&self, pdu: &Pdu) -> Result<Result<References, Vec<OwnedEventId>>, EngineError> {
        let (mut missing, mut found) = (Vec::new(), [Vec::new(), Vec::new()]);
        for (ids, nums) in [&pdu.prev_events, &pdu.auth_events].into_iter().zip(&mut found) {
            for id in ids {
                match self.find(id).await? {
                    Some(num) => nums.push(num),
                    None if missing.contains(id) => {}
                    None => missing.push(id.clone()),
                }
            }
        }
        let [prev, cited] = found;
        Ok(if missing.is_empty() { Ok(References { prev, cited }) } else { Err(missing) })
    }

    /// What the states after the events that it follows resolve to.
    async fn state_before(&mut self, pdu: &Pdu, prev: &[EventNum]) -> Result<NodeId, EngineError> {
        let row = &self.head()?.row;
        let follows: BTreeSet<_> = pdu.prev_events.iter().collect();
        if row.extremities.iter().map(|end| &end.event_id).collect::<BTreeSet<_>>() == follows {
            return Ok(row.root);
        }
        self.resolve_after(prev).await
    }

    /// Stages an event that was judged.
    async fn land(
        &mut self,
        event: ReceivedEvent,
        references: &References,
        before: NodeId,
        verdict: Verdict,
    ) -> Result<EventNum, EngineError> {
        let ReceivedEvent { json, mut pdu, .. } = event;
        pdu.rejected = verdict == Verdict::Rejected;
        let pdu = Arc::new(pdu);
        let fields = find_fields(&json).ok_or_else(|| EngineError::BadEvent("no event".to_owned()))?;
        let mut meta = self.meta_of(&pdu, references, before).await?;
        meta.verdict = verdict;
        let num = self.head()?.row.next_num;
        let end = Extremity { num, depth: meta.depth, event_id: pdu.event_id.clone() };
        let staged = Staged {
            num,
            row: EventRow::new(&meta, &fields, &json),
            pdu: Arc::clone(&pdu),
            // Who is not part of the room relates to nothing in it.
            relation: meta.relation.filter(|_| verdict == Verdict::Accepted),
            new_root: None,
            to: None,
        };
        let op = EVENTS.put(&(self.room.num, num), &staged.row);
        let id = EVENT_IDS.put(&pdu.event_id.to_string(), &EventPlace { room: self.room.num, num });
        self.staged.push(staged);
        let head = self.head_mut()?;
        head.overlay.stage(&op);
        head.overlay.stage(&id);
        head.row.next_num += 1;
        head.row.next_arrival += 1;
        if pdu.state_key.is_some() {
            self.cite(&references.cited, num);
        }
        if verdict == Verdict::Accepted {
            let (others, replaces) = (self.others()?, self.replaced_member(&pdu).await?);
            self.enter(&pdu, end, before).await?;
            self.pass_on(&pdu, replaces, others).await?;
        }
        self.apply_parked(&pdu).await?;
        Ok(num)
    }

    async fn meta_of(&self, pdu: &Pdu, references: &References, before: NodeId) -> Result<EventMeta, EngineError> {
        let nodes = self.branches()?.nodes();
        let replaces = match slot_of(pdu) {
            Some((kind, key)) => state_tree::get(&nodes, before, &kind, &key).await?,
            None => None,
        };
        let visibility = match state_tree::get(&nodes, before, "m.room.history_visibility", "").await? {
            Some(num) => Visibility::parse(::room::visibility::of_event(Some(&*self.pdu(num).await?)).as_str()),
            None => Visibility::Shared,
        };
        // What the sender's server claims could be anything; in the order of history an event comes just behind what it follows.
        let mut depths = Vec::with_capacity(references.prev.len());
        for num in &references.prev {
            depths.push(u64::try_from(self.event_row(*num).await?.depth()).unwrap_or_default());
        }
        let depth = ::room::dag::next_depth(depths);
        Ok(EventMeta {
            verdict: Verdict::Rejected,
            outlier: false,
            partial_state: false,
            visibility: visibility_across(visibility, pdu),
            pos: 0,
            depth: i64::try_from(depth).unwrap_or(i64::MAX),
            arrival: self.head()?.row.next_arrival,
            sender: self.engine.user_num(&pdu.sender).await?,
            origin_server_ts: pdu.origin_server_ts.0.into(),
            state_before: before,
            replaces: replaces.unwrap_or_default(),
            event_id: pdu.event_id.to_string(),
            device: String::new(),
            txn_id: String::new(),
            redacted_by: String::new(),
            relation: relation(pdu.content.get()),
        })
    }

    /// An accepted event becomes part of the room.
    async fn enter(&mut self, pdu: &Arc<Pdu>, end: Extremity, before: NodeId) -> Result<(), EngineError> {
        let num = end.num;
        self.ops.extend(self.engine.projector.project(self.room.num, num, pdu));
        let staged = self.staged.last();
        let relation = staged.and_then(|staged| Some((staged.relation.clone()?, HistoryPoint::before(&staged.row))));
        if let Some(((kind, target), place)) = relation {
            self.mark_related(&target).await?;
            self.mark_thread(&kind, &target, place).await?;
        }
        self.mark_late(pdu).await?;
        let row = &mut self.head_mut()?.row;
        row.extremities.retain(|end| !pdu.prev_events.contains(&end.event_id));
        row.extremities.push(end);
        let root = row.root;
        let alone = row.extremities.len() == 1;
        match slot_of(pdu) {
            // One branch goes on, as with an event of our own.
            None if alone && before == root => {}
            Some((kind, key)) if alone && before == root => {
                let replaces = self.current(&kind, &key).await?;
                self.change_state(pdu, num, replaces, kind, key).await?;
            }
            _ => self.settle().await?,
        }
        if pdu.event_type == TimelineEventType::RoomRedaction {
            self.redact_target(pdu, num).await?;
        }
        Ok(())
    }

    /// Marks an event to which events relate that came earlier.
    async fn mark_late(&mut self, pdu: &Pdu) -> Result<(), EngineError> {
        let target = pdu.event_id.as_str();
        let prefix = (self.room.num, target.to_owned());
        let mut relations = self.engine.db.scan_prefix(&RELATIONS, &prefix, Page::last(LATE_RELATIONS)).await?;
        let overlay = &self.head()?.overlay;
        for key in overlay.keys_from(RELATIONS.keyspace, &RELATIONS.prefix(&prefix)) {
            if let Some(Some(row)) = overlay.peek(RELATIONS.keyspace, key) {
                relations.push((RELATIONS.decode_key(key)?, RELATIONS.decode(row)?));
            }
        }
        for staged in &self.staged {
            if let Some((kind, _)) = staged.relation.as_ref().filter(|(_, id)| id == target) {
                let row = RelationRow { num: staged.num, kind: kind.clone(), event_type: String::new() };
                let key = (prefix.0, prefix.1.clone(), staged.row.depth(), staged.row.arrival());
                relations.push((key, row));
            }
        }
        if relations.is_empty() {
            return Ok(());
        }
        self.mark_related(target).await?;
        for ((_, _, depth, arrival), relation) in relations {
            self.mark_thread(&relation.kind, target, HistoryPoint { depth, arrival }).await?;
        }
        Ok(())
    }

    /// Applies the redactions that came before their target.
    async fn apply_parked(&mut self, pdu: &Pdu) -> Result<(), EngineError> {
        let key = (self.room.num, pdu.event_id.to_string());
        let rows = self.engine.db.scan_all(&PARKED_REDACTIONS, &key).await?;
        let mut parked: BTreeSet<EventNum> = rows.into_iter().map(|((_, _, num), ())| num).collect();
        let prefix = PARKED_REDACTIONS.prefix(&key);
        for key in self.head()?.overlay.keys_from(PARKED_REDACTIONS.keyspace, &prefix) {
            parked.insert(PARKED_REDACTIONS.decode_key(key)?.2);
        }
        for num in parked {
            let redaction = self.pdu(num).await?;
            self.redact_target(&redaction, num).await?;
            self.stage(PARKED_REDACTIONS.delete(&(self.room.num, key.1.clone(), num)));
        }
        Ok(())
    }
}
