//! Events that are known because others refer to them: they have no place in the room's graph, orders and ends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use ::room::{AuthorizationRules, Pdu, check::ReceivedEvent, fast::RoomAuthView, pdu::SharedPdu};
use ruma::{OwnedEventId, OwnedUserId, UserId, events::TimelineEventType};
use store::IdKind;

use crate::{
    engine::{Engine, parse},
    error::EngineError,
    judge::allowed_by_cited,
    receive::depth_of,
    resolution::{LARGE, slot_of},
    room::Room,
    row::{EventMeta, EventRow, StateFrom, Verdict, Visibility},
    splice::find_fields,
    staged::EventPlace,
    state_tree::{self, Key, NodeId},
    tables::{EVENT_IDS, EVENTS, EventNum, NODES, UserNum},
    writer::RoomWriter,
};

/// The numbers of users, given before a room is locked.
pub(crate) type Senders = HashMap<OwnedUserId, UserNum>;

/// What is known of an event that is stored by itself.
struct Aside {
    sender: UserNum,
    verdict: Verdict,
    /// The redaction that stripped it.
    redacted_by: String,
}

/// Whether nobody said yet of an event that it is part of the room.
fn is_doubtful(row: &EventRow) -> bool {
    row.outlier() && row.verdict() == Verdict::SoftFailed
}

/// Events by id that are here, or staged to be.
#[derive(Default)]
pub(crate) struct Here {
    pub(crate) nums: HashMap<OwnedEventId, EventNum>,
    pub(crate) pdus: HashMap<OwnedEventId, SharedPdu>,
}

impl Engine {
    /// Stores events of a room that nothing else is known of: judged by the events that they cite alone, in no order. Those whose auth
    /// events are neither here nor in the list are left out. Gives the ids that are here afterwards.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn receive_outliers(
        &self,
        room: &Arc<Room>,
        events: Vec<ReceivedEvent>,
    ) -> Result<Vec<OwnedEventId>, EngineError> {
        self.receive_aside(room, events, &BTreeSet::new()).await
    }

    /// The same where a server says of some of the events, `told`, that they are part of the room. Of other events without a state key
    /// nobody knows that: they are soft-failed until somebody says so. One whose content was stripped is taken with the redaction
    /// that did it, and not without.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn receive_aside(
        &self,
        room: &Arc<Room>,
        events: Vec<ReceivedEvent>,
        told: &BTreeSet<OwnedEventId>,
    ) -> Result<Vec<OwnedEventId>, EngineError> {
        let ids: Vec<OwnedEventId> = events.iter().map(|event| event.pdu.event_id.clone()).collect();
        let senders = self.senders(events.iter().map(|event| &event.pdu)).await?;
        let mut writer = self.write(room).await?;
        let here = writer.take_outliers(events, &senders, told).await?;
        writer.commit().await?;
        let mut seen = BTreeSet::new();
        Ok(ids.into_iter().filter(|id| here.nums.contains_key(id) && seen.insert(id.clone())).collect())
    }

    /// Those of some events that are not here, or of which nobody said yet that they are part of the room.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn unsettled(&self, room: &Room, ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, EngineError> {
        let mut out = Vec::new();
        for id in ids {
            let is_settled = match self.find_event(room.num, id.as_str()).await? {
                Some(num) => !is_doubtful(&self.event(room.num, num).await?),
                None => false,
            };
            if !is_settled {
                out.push(id.clone());
            }
        }
        Ok(out)
    }

    /// The numbers of everybody who sent one of these events; users of ours whose membership they are about get one as well, and so
    /// do the servers of all others.
    pub(crate) async fn senders<'a>(&self, events: impl IntoIterator<Item = &'a Pdu>) -> Result<Senders, EngineError> {
        let mut users: BTreeSet<&UserId> = BTreeSet::new();
        let mut servers: BTreeSet<&str> = BTreeSet::new();
        for pdu in events {
            users.insert(&pdu.sender);
            if pdu.event_type == TimelineEventType::RoomMember
                && let Some(user) = pdu.state_key.as_deref().and_then(|key| <&UserId>::try_from(key).ok())
            {
                if self.is_local(user) {
                    users.insert(user);
                } else {
                    servers.insert(user.server_name().as_str());
                }
            }
        }
        let servers: Vec<&str> = servers.into_iter().collect();
        self.ids.numbers(IdKind::Server, &servers).await?;
        let names: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
        let nums = self.ids.numbers(IdKind::User, &names).await?;
        Ok(users.into_iter().map(ToOwned::to_owned).zip(nums).collect())
    }
}

impl RoomWriter<'_> {
    /// Judges events by what they cite, and stages those that are new. Gives them, what they cite, and those of them that were here.
    pub(crate) async fn take_outliers(
        &mut self,
        events: Vec<ReceivedEvent>,
        senders: &Senders,
        told: &BTreeSet<OwnedEventId>,
    ) -> Result<Here, EngineError> {
        let ids = events.iter().flat_map(|event| event.pdu.auth_events.iter().chain([&event.pdu.event_id]));
        let mut wanted: BTreeSet<OwnedEventId> = ids.cloned().collect();
        wanted.extend(self.create_id());
        let mut here = self.here(wanted).await?;
        let mut new: BTreeMap<OwnedEventId, ReceivedEvent> = BTreeMap::new();
        let mut stripped = BTreeSet::new();
        for event in events {
            let id = &event.pdu.event_id;
            if let Some(num) = here.nums.get(id).copied() {
                if told.contains(id) {
                    self.confirm(num).await?;
                }
            } else if self.check_room(&event.pdu).await.is_ok() {
                if event.redacted && event.pdu.state_key.is_none() {
                    stripped.insert(id.clone());
                }
                new.entry(id.clone()).or_insert(event);
            }
        }
        let rules = self.room.rules.authorization.clone();
        let (create, known, large) = (self.create_id(), std::mem::take(&mut here.pdus), new.len() > LARGE);
        let judge = move || judge_all(&rules, create.as_ref(), known, new);
        let (known, judged) = if large {
            let task = tokio::task::spawn_blocking(judge).await;
            task.map_err(|error| EngineError::Inconsistent(error.to_string()))?
        } else {
            judge()
        };
        here.pdus = known;
        let redactions: HashMap<OwnedEventId, SharedPdu> = judged
            .iter()
            .filter(|(_, pdu)| pdu.event_type == TimelineEventType::RoomRedaction && !pdu.rejected)
            .filter_map(|(_, pdu)| Some((pdu.redacts.clone()?, Arc::clone(pdu))))
            .collect();
        // Whatever a redaction cites is here before what it stripped.
        let (last, first): (Vec<_>, Vec<_>) = judged.into_iter().partition(|(_, pdu)| stripped.contains(&pdu.event_id));
        for (json, pdu) in first.into_iter().chain(last) {
            let sender = match senders.get(&pdu.sender) {
                Some(sender) => *sender,
                None => self.engine.user_num(&pdu.sender).await?,
            };
            let mut redacted_by = String::new();
            if stripped.contains(&pdu.event_id) {
                match redactions.get(&pdu.event_id).filter(|redaction| self.may_strip(redaction, &pdu, &here)) {
                    Some(redaction) => redaction.event_id.as_str().clone_into(&mut redacted_by),
                    None if self.is_stripped_here(&pdu).await? => {}
                    None => continue,
                }
            }
            let is_told = pdu.state_key.is_some() || told.contains(&pdu.event_id);
            let verdict = match (pdu.rejected, is_told) {
                (true, _) => Verdict::Rejected,
                (false, true) => Verdict::Accepted,
                (false, false) => Verdict::SoftFailed,
            };
            let num = self.stage_outlier(&json, &pdu, Aside { sender, verdict, redacted_by }, &mut here)?;
            let Some(num) = num.filter(|_| pdu.state_key.is_none()) else { continue };
            self.apply_parked(&pdu).await?;
            if pdu.event_type == TimelineEventType::RoomRedaction && verdict == Verdict::Accepted {
                self.redact_target(&pdu, num).await?;
            }
        }
        Ok(here)
    }

    /// Whether a redaction that is part of the room and waits for an event may strip it.
    async fn is_stripped_here(&self, pdu: &Pdu) -> Result<bool, EngineError> {
        for num in self.parked(&pdu.event_id).await? {
            if self.redacts(&*self.pdu(num).await?, num, &pdu.sender).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A server says of an event that is here by itself that it is part of the room.
    async fn confirm(&mut self, num: EventNum) -> Result<(), EngineError> {
        let row = self.event_row(num).await?;
        if !is_doubtful(&row) {
            return Ok(());
        }
        let malformed = || EngineError::Inconsistent("a stored event is no event".to_owned());
        let mut meta = row.meta();
        meta.verdict = Verdict::Accepted;
        let row = EventRow::new(&meta, &find_fields(row.json()).ok_or_else(malformed)?, row.json());
        let pdu = parse(&row, self.room)?;
        self.stage(EVENTS.put(&(self.room.num, num), &row));
        self.rewritten.push((num, row));
        self.ops.extend(self.engine.projector.project(self.room.num, num, &pdu));
        self.aside = true;
        self.rejudge(&pdu)?;
        if pdu.event_type == TimelineEventType::RoomRedaction {
            self.redact_target(&pdu, num).await?;
        }
        Ok(())
    }

    /// Whether a redaction may have stripped an event, by the power levels that it cites itself.
    fn may_strip(&self, redaction: &Pdu, target: &Pdu, here: &Here) -> bool {
        let cited = |id: &OwnedEventId| here.pdus.get(id).filter(|pdu| !pdu.rejected);
        let of_type = |kind: TimelineEventType| {
            redaction.auth_events.iter().filter_map(cited).find(|pdu| pdu.is_state(&kind, ""))
        };
        let create = self.create_id().as_ref().and_then(cited).or_else(|| of_type(TimelineEventType::RoomCreate));
        let levels = of_type(TimelineEventType::RoomPowerLevels);
        create.is_some_and(|create| {
            let rules = &self.room.rules.authorization;
            let view = RoomAuthView::new(rules, create, levels.map(|levels| &**levels), None, None);
            redaction.state_key.is_none() && view.can_redact(&redaction.sender, &target.sender).is_ok()
        })
    }

    /// In version 12, the create event's id, which is the room's.
    pub(crate) fn create_id(&self) -> Option<OwnedEventId> {
        let nameless = self.room.rules.authorization.room_create_event_id_as_room_id;
        let id = self.room.id.as_str().strip_prefix('!').filter(|_| nameless)?;
        OwnedEventId::try_from(format!("${id}")).ok()
    }

    /// Those of these events that are here, in whatever standing.
    pub(crate) async fn here(&self, ids: BTreeSet<OwnedEventId>) -> Result<Here, EngineError> {
        let mut here = Here::default();
        let mut unread = Vec::new();
        for id in ids {
            match self.head()?.overlay.peek(EVENT_IDS.keyspace, &EVENT_IDS.key(&id.to_string())) {
                Some(Some(place)) => drop(here.nums.insert(id, EVENT_IDS.decode(place)?.num)),
                _ => unread.push(id),
            }
        }
        let keys: Vec<String> = unread.iter().map(ToString::to_string).collect();
        let places = self.engine.db.multi_get(&EVENT_IDS, &keys).await?;
        let found = unread.into_iter().zip(places).filter_map(|(id, place)| Some((id, place?)));
        here.nums.extend(found.filter(|(_, place)| place.room == self.room.num).map(|(id, place)| (id, place.num)));
        let nums: Vec<EventNum> = here.nums.values().copied().collect();
        let pdus = self.branches()?.pdus(&nums).await?;
        here.pdus.extend(pdus.into_iter().map(|(_, pdu)| (pdu.event_id.clone(), pdu)));
        Ok(here)
    }

    fn stage_outlier(
        &mut self,
        json: &str,
        pdu: &SharedPdu,
        aside: Aside,
        here: &mut Here,
    ) -> Result<Option<EventNum>, EngineError> {
        let Some(fields) = find_fields(json) else { return Ok(None) };
        let (room, num) = (self.room.num, self.head()?.row.next_num);
        let meta = EventMeta {
            verdict: aside.verdict,
            outlier: true,
            partial_state: false,
            state_from: StateFrom::Graph,
            visibility: Visibility::Shared,
            pos: 0,
            depth: depth_of(pdu),
            arrival: 0,
            sender: aside.sender,
            origin_server_ts: pdu.origin_server_ts.0.into(),
            state_before: NodeId::EMPTY,
            replaces: 0,
            event_id: pdu.event_id.to_string(),
            device: String::new(),
            txn_id: String::new(),
            redacted_by: aside.redacted_by,
            relation: None,
        };
        self.head_mut()?.row.next_num += 1;
        self.stage(EVENTS.put(&(room, num), &EventRow::new(&meta, &fields, json)));
        self.stage(EVENT_IDS.put(&meta.event_id, &EventPlace { room, num }));
        self.aside |= pdu.state_key.is_none();
        if aside.verdict == Verdict::Accepted {
            // An entry of a ledger counts though nothing of the history around it is here.
            self.ops.extend(self.engine.projector.project(room, num, pdu));
        }
        if pdu.state_key.is_some() {
            let cited: Vec<EventNum> = pdu.auth_events.iter().filter_map(|id| here.nums.get(id).copied()).collect();
            self.cite(&cited, num);
        }
        here.nums.insert(pdu.event_id.clone(), num);
        here.pdus.insert(pdu.event_id.clone(), Arc::clone(pdu));
        Ok(Some(num))
    }

    /// The state that another server says these events are: those of them that are here and were not rejected.
    pub(crate) fn stage_told(&mut self, here: &Here, state: &[OwnedEventId]) -> Result<NodeId, EngineError> {
        let entry = |id| {
            let pdu = here.pdus.get(id).filter(|pdu| !pdu.rejected)?;
            let (kind, key) = slot_of(pdu)?;
            Some((Key::new(kind, key), *here.nums.get(id)?))
        };
        let built = state_tree::build(state.iter().filter_map(entry))?;
        for (id, node) in built.new_nodes {
            self.stage(NODES.put(&(self.room.num, id.0), &node));
        }
        Ok(built.root)
    }
}

/// New events with what they cite before them, each judged by that. Those that cite what is neither known nor in the list are left
/// out, and so is who cites those, or itself over others. Gives back what was known.
fn judge_all(
    rules: &AuthorizationRules,
    create: Option<&OwnedEventId>,
    known: HashMap<OwnedEventId, SharedPdu>,
    mut new: BTreeMap<OwnedEventId, ReceivedEvent>,
) -> (HashMap<OwnedEventId, SharedPdu>, Vec<(String, SharedPdu)>) {
    let mut waiting: HashMap<OwnedEventId, usize> = HashMap::new();
    let mut cited_by: HashMap<OwnedEventId, Vec<OwnedEventId>> = HashMap::new();
    let mut ready = VecDeque::new();
    for (id, event) in &new {
        // In version 12 everything but the create event itself rests on that, and nothing says so.
        let unsaid = create.filter(|create| *create != id);
        let cited: BTreeSet<_> = event.pdu.auth_events.iter().chain(unsaid).collect();
        let unknown: Vec<_> = cited.into_iter().filter(|id| !known.contains_key(*id)).collect();
        if unknown.is_empty() {
            ready.push_back(id.clone());
        }
        waiting.insert(id.clone(), unknown.len());
        for cited in unknown {
            cited_by.entry(cited.clone()).or_default().push(id.clone());
        }
    }
    let (mut judged, mut order) = (known, Vec::with_capacity(new.len()));
    while let Some(id) = ready.pop_front() {
        let Some(ReceivedEvent { json, mut pdu, .. }) = new.remove(&id) else { continue };
        let named = pdu.auth_events.iter().filter_map(|id| Some((id.clone(), Arc::clone(judged.get(id)?)))).collect();
        let create = create.and_then(|id| judged.get(id)).filter(|create| !create.rejected).cloned();
        pdu.rejected |= !allowed_by_cited(rules, &pdu, named, create);
        let pdu = Arc::new(pdu);
        judged.insert(id.clone(), Arc::clone(&pdu));
        order.push((json, pdu));
        for id in cited_by.remove(&id).unwrap_or_default() {
            if let Some(left) = waiting.get_mut(&id) {
                *left -= 1;
                if *left == 0 {
                    ready.push_back(id);
                }
            }
        }
    }
    let new: BTreeSet<&OwnedEventId> = order.iter().map(|(_, pdu)| &pdu.event_id).collect();
    judged.retain(|id, _| !new.contains(id));
    drop(new);
    (judged, order)
}
