//! Events that other servers made: judged, stored, and merged into the room.
//!
//! The caller has checked form, signatures and hash ([`room::check::check_received`]). Whatever the verdict, the event is stored, so
//! that it is judged once; only an accepted one is in the room's orders, moves its end and changes its state.

use std::{collections::BTreeSet, sync::Arc};

use ::room::{Pdu, SignedEvent, check::ReceivedEvent};
use ruma::{EventId, OwnedEventId, events::TimelineEventType};
use store::{IdKind, Page};

use crate::{
    engine::{Engine, parse},
    error::EngineError,
    head::{Extremity, Head, HeadRow},
    judge::Judging,
    load,
    resolution::slot_of,
    room::{Room, RoomInfo},
    row::{EventMeta, EventRow, StateFrom, Verdict, Visibility},
    splice::find_fields,
    staged::{EventPlace, RelationRow, Staged},
    state_tree::{self, NodeId},
    tables::{Depth, EVENT_IDS, EVENTS, EventNum, PARKED_REDACTIONS, RELATIONS},
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

/// Places in an event's graph: what it follows and what it cites, as numbers, and the ids of what is not here.
#[derive(Default)]
pub(crate) struct References {
    /// What it follows, where that has its own place in the graph.
    pub(crate) prev: Vec<EventNum>,
    /// What it follows otherwise: unknown, or known by reference only.
    pub(crate) gaps: Vec<OwnedEventId>,
    pub(crate) cited: Vec<EventNum>,
    pub(crate) uncited: Vec<OwnedEventId>,
}

impl References {
    fn missing(self) -> Vec<OwnedEventId> {
        let mut missing = self.gaps;
        missing.extend(self.uncited);
        let mut seen = BTreeSet::new();
        missing.retain(|id| seen.insert(id.clone()));
        missing
    }
}

/// Where an event is to stand that was judged.
pub(crate) struct Landing {
    pub(crate) references: References,
    /// The state before it.
    pub(crate) before: NodeId,
    pub(crate) from: StateFrom,
    pub(crate) verdict: Verdict,
    /// That state lacks members.
    pub(crate) partial: bool,
    /// Its number, where it was known by reference.
    pub(crate) known: Option<EventNum>,
    /// Its place, where it is older history.
    pub(crate) history: Option<HistoryPoint>,
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
        self.number_servers([event.pdu.sender.server_name()]).await?;
        let (mut event, mut asked) = (event, false);
        loop {
            let mut writer = self.write(room).await?;
            writer.relay = relay;
            if !asked && let Some(policy) = writer.unapproved(&event).await? {
                drop(writer);
                self.ask_for(&policy, room, &mut event).await;
                asked = true;
                continue;
            }
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
        self.check_room(pdu).await?;
        let known = match self.known(&pdu.event_id).await? {
            Some((num, false)) => return Ok(Received::Known(num)),
            known => known.map(|(num, _)| num),
        };
        let references = self.references(pdu).await?;
        if !(references.gaps.is_empty() && references.uncited.is_empty()) {
            return Ok(Received::Missing(references.missing()));
        }
        let before = self.state_before(pdu, &references.prev).await?;
        let partial = self.partial();
        let verdict = self.judge(pdu, &references.cited, before, Judging { by_now: true, partial }).await?;
        let verdict = self.as_recommended(verdict, &event).await?;
        let landing = Landing { references, before, from: StateFrom::Graph, verdict, partial, known, history: None };
        let num = self.land(event, landing).await?;
        Ok(Received::Stored { num, verdict })
    }

    /// Whether an event can be one of this room's.
    pub(crate) async fn check_room(&self, pdu: &Pdu) -> Result<(), EngineError> {
        if pdu.room_id != self.room.id {
            return Err(EngineError::BadEvent("the event is of another room".to_owned()));
        }
        if pdu.prev_events.len() > ::room::build::MAX_PREV_EVENTS
            || pdu.auth_events.len() > ::room::build::MAX_AUTH_EVENTS
        {
            return Err(EngineError::BadEvent("the event refers to too many others".to_owned()));
        }
        // Ids of the first versions are chosen by the sender's server: none takes the place of an event of another room.
        if self.room.rules.event_format.require_event_id {
            let place = self.head()?.overlay.get(&self.engine.db, &EVENT_IDS, &pdu.event_id.to_string()).await?;
            if place.is_some_and(|place| place.room != self.room.num) {
                return Err(EngineError::BadEvent("the event's id is that of an event of another room".to_owned()));
            }
        }
        Ok(())
    }

    /// The number of an event that is here, and whether it is known by reference only.
    pub(crate) async fn known(&self, id: &EventId) -> Result<Option<(EventNum, bool)>, EngineError> {
        let Some(num) = self.find(id).await? else { return Ok(None) };
        Ok(Some((num, self.event_row(num).await?.outlier())))
    }

    /// Stages an event of ours where the room has more ends than one event can follow.
    pub(crate) async fn append_to_some(
        &mut self,
        event: &NewEvent<'_>,
        signed: SignedEvent,
    ) -> Result<Appended, EngineError> {
        self.await_policy(&signed, event.device, event.txn_id);
        let SignedEvent { json, pdu, reference_hash } = signed;
        let event_id = pdu.event_id.clone();
        let refused = || EngineError::Forbidden("the branches that the event can follow do not allow it".to_owned());
        // The policy server is asked once all is put together.
        self.trusts_itself = true;
        let received = self.receive(ReceivedEvent { json, pdu, redacted: false, reference_hash }).await;
        self.trusts_itself = false;
        let Received::Stored { num, verdict: Verdict::Accepted } = received? else { return Err(refused()) };
        self.label_staged(num, label(event.device), label(event.txn_id))?;
        Ok(Appended { num, event_id })
    }

    pub(crate) async fn references(&self, pdu: &Pdu) -> Result<References, EngineError> {
        let mut references = References::default();
        for id in &pdu.prev_events {
            match self.known(id).await? {
                Some((num, false)) => references.prev.push(num),
                _ => references.gaps.push(id.clone()),
            }
        }
        for id in &pdu.auth_events {
            match self.find(id).await? {
                Some(num) => references.cited.push(num),
                None => references.uncited.push(id.clone()),
            }
        }
        Ok(references)
    }

    /// What the states after the events that it follows resolve to.
    pub(crate) async fn state_before(&mut self, pdu: &Pdu, prev: &[EventNum]) -> Result<NodeId, EngineError> {
        let row = &self.head()?.row;
        let follows: BTreeSet<_> = pdu.prev_events.iter().collect();
        if row.extremities.iter().map(|end| &end.event_id).collect::<BTreeSet<_>>() == follows {
            return Ok(row.root);
        }
        self.resolve_after(prev).await
    }

    /// Stages an event that was judged.
    pub(crate) async fn land(&mut self, event: ReceivedEvent, landing: Landing) -> Result<EventNum, EngineError> {
        let ReceivedEvent { mut json, mut pdu, redacted, .. } = event;
        let mut redacted_by = String::new();
        let mut rejudged = false;
        if let Some(known) = landing.known {
            let row = self.event_row(known).await?;
            rejudged = row.verdict() != landing.verdict;
            if redacted || row.is_redacted() {
                (json, pdu) = (row.json().to_owned(), parse(&row, self.room)?);
                row.redacted_by().unwrap_or_default().clone_into(&mut redacted_by);
            }
        }
        pdu.rejected = landing.verdict == Verdict::Rejected;
        let pdu = Arc::new(pdu);
        let fields = find_fields(&json).ok_or_else(|| EngineError::BadEvent("no event".to_owned()))?;
        let mut meta = self.meta_of(&pdu, &landing).await?;
        if !redacted_by.is_empty() {
            (meta.redacted_by, meta.relation) = (redacted_by, None);
        }
        let head = &mut self.head_mut()?.row;
        let num = landing.known.unwrap_or(head.next_num);
        head.next_num = head.next_num.max(num + 1);
        head.next_arrival += i64::from(landing.history.is_none());
        self.promoted.extend(landing.known);
        let staged = Staged {
            num,
            row: EventRow::new(&meta, &fields, &json),
            pdu: Arc::clone(&pdu),
            // Who is not part of the room relates to nothing in it.
            relation: meta.relation.filter(|_| landing.verdict == Verdict::Accepted),
            new_root: None,
            to: None,
        };
        let op = EVENTS.put(&(self.room.num, num), &staged.row);
        let id = EVENT_IDS.put(&pdu.event_id.to_string(), &EventPlace { room: self.room.num, num });
        self.staged.push(staged);
        let head = self.head_mut()?;
        head.overlay.stage(&op);
        head.overlay.stage(&id);
        if pdu.state_key.is_some() {
            self.cite(&landing.references.cited, num);
        }
        self.mark_gaps(&landing.references.gaps, num)?;
        let followed = self.close_gap(&pdu.event_id).await?;
        if rejudged {
            self.rejudge(&pdu)?;
        }
        if landing.verdict == Verdict::Accepted {
            self.take_in(&pdu, num).await?;
            if landing.history.is_none() {
                let (others, replaces) = (self.others()?, self.replaced_member(&pdu).await?);
                let end = Extremity { num, depth: meta.depth, event_id: pdu.event_id.clone() };
                self.extend(&pdu, end, &landing, followed).await?;
                // Who takes a user of ours in tells the others.
                if landing.from == StateFrom::Graph {
                    self.pass_on(&pdu, replaces, others).await?;
                }
            }
            if pdu.event_type == TimelineEventType::RoomRedaction {
                self.redact_target(&pdu, num).await?;
            }
        }
        self.apply_parked(&pdu).await?;
        Ok(num)
    }

    async fn meta_of(&self, pdu: &Pdu, landing: &Landing) -> Result<EventMeta, EngineError> {
        let before = landing.before;
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
        let depth = self.depth_after(&landing.references.prev).await?;
        // Where that is not known, nothing else is left to go by.
        let depth = if landing.references.gaps.is_empty() { depth } else { depth.max(depth_of(pdu)) };
        let place = HistoryPoint { depth, arrival: self.head()?.row.next_arrival };
        let place = landing.history.unwrap_or(place);
        Ok(EventMeta {
            verdict: landing.verdict,
            outlier: false,
            partial_state: landing.partial,
            state_from: landing.from,
            visibility: visibility_across(visibility, pdu),
            pos: 0,
            depth: place.depth,
            arrival: place.arrival,
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

    /// A depth behind all of these events.
    pub(crate) async fn depth_after(&self, prev: &[EventNum]) -> Result<Depth, EngineError> {
        let mut depths = Vec::with_capacity(prev.len());
        for num in prev {
            depths.push(u64::try_from(self.event_row(*num).await?.depth()).unwrap_or_default());
        }
        Ok(i64::try_from(::room::dag::next_depth(depths)).unwrap_or(i64::MAX))
    }

    /// An accepted event, which was staged last, becomes part of the room.
    async fn take_in(&mut self, pdu: &Arc<Pdu>, num: EventNum) -> Result<(), EngineError> {
        self.ops.extend(self.engine.projector.project(self.room.num, num, pdu));
        let staged = self.staged.last();
        let relation = staged.and_then(|staged| Some((staged.relation.clone()?, HistoryPoint::before(&staged.row))));
        if let Some(((kind, target), place)) = relation {
            self.mark_related(&target).await?;
            self.mark_thread(&kind, &target, place).await?;
        }
        self.mark_late(pdu).await
    }

    /// An event is judged otherwise than before.
    pub(crate) fn rejudge(&mut self, pdu: &Pdu) -> Result<(), EngineError> {
        let judgement = self.head()?.row.seq;
        self.ops.extend(self.engine.projector.rejudged(self.room.num, pdu, judgement));
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

    /// The redactions that came before their target.
    pub(crate) async fn parked(&self, target: &EventId) -> Result<BTreeSet<EventNum>, EngineError> {
        let key = (self.room.num, target.to_string());
        let rows = self.engine.db.scan_all(&PARKED_REDACTIONS, &key).await?;
        let mut parked: BTreeSet<EventNum> = rows.into_iter().map(|((_, _, num), ())| num).collect();
        let prefix = PARKED_REDACTIONS.prefix(&key);
        for key in self.head()?.overlay.keys_from(PARKED_REDACTIONS.keyspace, &prefix) {
            parked.insert(PARKED_REDACTIONS.decode_key(key)?.2);
        }
        Ok(parked)
    }

    /// Applies them, now that it is here.
    pub(crate) async fn apply_parked(&mut self, pdu: &Pdu) -> Result<(), EngineError> {
        for num in self.parked(&pdu.event_id).await? {
            let redaction = self.pdu(num).await?;
            self.redact_target(&redaction, num).await?;
            self.stage(PARKED_REDACTIONS.delete(&(self.room.num, pdu.event_id.to_string(), num)));
        }
        Ok(())
    }
}

/// What an event claims its depth to be.
pub(crate) fn depth_of(pdu: &Pdu) -> Depth {
    i64::try_from(pdu.depth).unwrap_or(i64::MAX)
}
