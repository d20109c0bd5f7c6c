//! The room's writer: under its lock events are authorised, signed, and put into one atomic commit; durability is awaited
//! after the lock is released.

mod commit;
mod legacy;

use std::sync::{Arc, atomic::Ordering};

use room::{
    Pdu,
    auth::{self, AuthError},
    build::{EventDraft, LegacyIds, SignedEvent, sign},
    policy::EVENT_TYPE as POLICY,
};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UInt, UserId,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use store::{Op, Pos, Precondition};
use tokio::sync::OwnedMutexGuard;

use self::legacy::Legacy;
use crate::{
    engine::Engine,
    error::EngineError,
    head::{Extremity, Head, Member, StateRef},
    load,
    policy::Waiting,
    room::Room,
    row::{EventMeta, EventRow, StateFrom, Verdict, Visibility},
    serve::ServerAcl,
    splice::find_fields,
    staged::{Staged, UserChange},
    state::{CurrentRow, RoomNodes, membership_in},
    state_tree::{self, NodeId},
    tables::{CITED, CURRENT, EVENTS, EventNum, NODES, TRANSACTIONS, UserNum},
    timeline::HistoryPoint,
    user_rooms::Membership,
};

/// An event that a local user sends.
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    /// Who sends it.
    pub sender: &'a UserId,
    /// The sender's number.
    pub sender_num: UserNum,
    /// Its type.
    pub event_type: TimelineEventType,
    /// Its state key, for a state event.
    pub state_key: Option<&'a str>,
    /// Its content: the text of a JSON object.
    pub content: &'a str,
    /// The target of an `m.room.redaction`.
    pub redacts: Option<&'a EventId>,
    /// The time it claims, milliseconds; now where absent.
    pub origin_server_ts: Option<u64>,
    /// The sending device.
    pub device: Option<&'a str>,
    /// The client's transaction id.
    pub txn_id: Option<&'a str>,
}

/// What identifies a request for idempotency: the user, the device, and the request's path with its transaction id.
#[derive(Debug, Clone, Copy)]
pub struct TxnKey<'a> {
    /// The user's number.
    pub user: UserNum,
    /// The device, or an application service's id.
    pub device: &'a str,
    /// The path, transaction id included.
    pub path: &'a str,
}

/// The key of a transaction's row.
pub(crate) type TxnRow = (UserNum, String, String);

impl TxnKey<'_> {
    fn row(&self) -> TxnRow {
        (self.user, self.device.to_owned(), self.path.to_owned())
    }
}

/// An event that was queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub num: EventNum,
    /// Its id.
    pub event_id: OwnedEventId,
}

/// What stands for the device of an event that was sent later than it was asked for: its transaction id is then the one under which it waited.
/// [MSC4140](https://github.com/matrix-org/matrix-spec-proposals/pull/4140)
pub const DELAYED: &str = "\u{1}delayed";

/// Longest transaction or device id that is kept with an event, in bytes.
const MAX_ID: usize = 1024;
/// Longest relation type or id that is indexed, in bytes; nothing valid is longer.
const MAX_RELATION: usize = 255;

/// Holds a room's writer lock and what is being put together.
pub struct RoomWriter<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) room: &'a Arc<Room>,
    guard: OwnedMutexGuard<Option<Head>>,
    /// Since when.
    since: u64,
    /// Rows that were queued.
    queued: usize,
    head: Option<Head>,
    pub(crate) staged: Vec<Staged>,
    pub(crate) ops: Vec<Op>,
    preconditions: Vec<Precondition>,
    pub(crate) state_changed: bool,
    pub(crate) user_changes: Vec<UserChange>,
    pub(crate) rewritten: Vec<(EventNum, EventRow)>,
    /// What comes from another server is to go on to the rest.
    pub(crate) relay: bool,
    /// Those of the staged events that were known by reference before.
    pub(crate) promoted: Vec<EventNum>,
    /// The room's state was filled in: since when it lacked members, and what it is now.
    pub(crate) filled: Option<(Pos, NodeId)>,
    /// Events that came before were taken out of the room, or let in.
    pub(crate) reordered: bool,
    /// Something came that is in none of the room's orders, and may count all the same.
    pub(crate) aside: bool,
    /// The room is being made.
    pub(crate) is_new: bool,
    /// What is received is an event of ours that waits for the policy server.
    pub(crate) trusts_itself: bool,
    /// What the room's policy server is to be asked about.
    pub(crate) waiting: Waiting,
    /// The head without what is put together, where that may have to be set aside.
    clean: Option<Head>,
    /// See [`RoomWriter::keep`].
    kept: Vec<Box<dyn Send + Sync>>,
}

impl std::fmt::Debug for RoomWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomWriter")
            .field("room", &self.room.num)
            .field("staged", &self.staged.len())
            .finish_non_exhaustive()
    }
}

impl Drop for RoomWriter<'_> {
    fn drop(&mut self) {
        self.engine.holds.ended(self.engine.now().saturating_sub(self.since), self.queued);
        // A head that was changed for a commit that never came is thrown away; the next writer reads it again.
        if self.staged.is_empty()
            && self.ops.is_empty()
            && let Some(head) = self.head.take()
        {
            *self.guard = Some(head);
        }
    }
}

impl Engine {
    /// Takes a room's writer lock. Writers are served in the order in which they asked.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn write<'a>(&'a self, room: &'a Arc<Room>) -> Result<RoomWriter<'a>, EngineError> {
        let mut guard = Arc::clone(&room.writer).lock_owned().await;
        let since = self.now();
        let broken = room.broken.swap(false, Ordering::AcqRel);
        let head = match guard.take() {
            Some(mut head) if !broken => {
                head.overlay.prune(self.db.frontier());
                head
            }
            _ => {
                // What was queued before has landed or been dropped once an empty commit behind it has.
                self.db.write().commit().await?;
                // The numbers of what was dropped are given again.
                self.chains.forget(room.num);
                load::head(self, room).await?
            }
        };
        Ok(RoomWriter::new(self, room, (guard, since), head))
    }

    /// Sends one event. With a transaction key, the same key gives the same event.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn send(
        &self,
        room: &Arc<Room>,
        event: NewEvent<'_>,
        txn: Option<TxnKey<'_>>,
    ) -> Result<OwnedEventId, EngineError> {
        let mut writer = self.write(room).await?;
        while let Some(txn) = &txn
            && writer.sent_before(txn).await?.is_some()
        {
            drop(writer);
            // The first request may still wait for its sync: answer no earlier than it, and only if it landed.
            self.db.write().commit().await?;
            if let Some(event_id) = self.sent_with(txn).await? {
                return Ok(event_id);
            }
            writer = self.write(room).await?;
        }
        let appended = writer.append(event).await?;
        if let Some(txn) = txn {
            writer.record_transaction(&txn, &appended.event_id);
        }
        writer.commit().await?;
        Ok(appended.event_id)
    }
}

impl<'a> RoomWriter<'a> {
    fn new(
        engine: &'a Engine,
        room: &'a Arc<Room>,
        (guard, since): (OwnedMutexGuard<Option<Head>>, u64),
        head: Head,
    ) -> Self {
        let clean = head.info.policy.is_some().then(|| head.clone());
        Self {
            clean,
            is_new: false,
            trusts_itself: false,
            waiting: Waiting::default(),
            engine,
            room,
            guard,
            since,
            queued: 0,
            head: Some(head),
            staged: Vec::new(),
            ops: Vec::new(),
            preconditions: Vec::new(),
            state_changed: false,
            user_changes: Vec::new(),
            rewritten: Vec::new(),
            relay: false,
            promoted: Vec::new(),
            filled: None,
            reordered: false,
            aside: false,
            kept: Vec::new(),
        }
    }

    /// A writer of a room that has no events yet and is known to nobody else.
    pub(crate) async fn of_new_room(engine: &'a Engine, room: &'a Arc<Room>) -> Result<Self, EngineError> {
        let mut guard = Arc::clone(&room.writer).lock_owned().await;
        let head = guard.take().ok_or(EngineError::Conflict)?;
        let mut writer = Self::new(engine, room, (guard, engine.now()), head);
        writer.is_new = true;
        Ok(writer)
    }

    pub(crate) fn head(&self) -> Result<&Head, EngineError> {
        self.head.as_ref().ok_or(EngineError::Conflict)
    }

    pub(crate) fn head_mut(&mut self) -> Result<&mut Head, EngineError> {
        self.head.as_mut().ok_or(EngineError::Conflict)
    }

    /// The event that was sent with this key, if any.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn sent_before(&self, txn: &TxnKey<'_>) -> Result<Option<OwnedEventId>, EngineError> {
        self.sent_as(&txn.row()).await
    }

    pub(crate) async fn sent_as(&self, txn: &TxnRow) -> Result<Option<OwnedEventId>, EngineError> {
        let found = self.head()?.overlay.get(&self.engine.db, &TRANSACTIONS, txn).await?;
        Ok(found.and_then(|id| OwnedEventId::try_from(id).ok()))
    }

    /// Remembers, in the same commit, what was sent with a key.
    pub fn record_transaction(&mut self, txn: &TxnKey<'_>, event_id: &EventId) {
        let op = TRANSACTIONS.put(&txn.row(), &event_id.to_string());
        if self.may_wait() {
            self.waiting.transactions.push(txn.row());
            self.waiting.ops.push(op.clone());
        }
        self.stage(op);
    }

    /// Whether what is put together may have to wait for the room's policy server.
    pub(crate) fn may_wait(&self) -> bool {
        self.clean.is_some()
    }

    /// Adds an operation to the commit.
    pub fn op(&mut self, op: Op) {
        if self.may_wait() {
            self.waiting.ops.push(op.clone());
        }
        self.ops.push(op);
    }

    /// Keeps a guard until the commit has landed or was dropped, also where who waits for it is gone by then.
    pub fn keep(&mut self, guard: impl Send + Sync + 'static) {
        self.kept.push(Box::new(guard));
    }

    /// Adds a precondition to the commit.
    pub fn require(&mut self, precondition: Precondition) {
        if self.may_wait() {
            self.waiting.preconditions.push(precondition.clone());
        }
        self.preconditions.push(precondition);
    }

    pub(crate) fn add_requirements(&mut self, preconditions: Vec<Precondition>) {
        self.preconditions.extend(preconditions);
    }

    /// Gives the lock back, and what was put together up.
    pub(crate) fn set_aside(mut self) {
        // The numbers of what is given up are given again.
        self.engine.chains.forget(self.room.num);
        self.head = None;
        *self.guard = self.clean.take();
    }

    /// Adds an operation to the commit and shows it to whoever writes on top of it.
    pub(crate) fn stage(&mut self, op: Op) {
        if let Some(head) = &mut self.head {
            head.overlay.stage(&op);
        }
        self.ops.push(op);
    }

    /// A member as this writer sees the room.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn member(&mut self, user_id: &UserId) -> Result<Option<Member>, EngineError> {
        if let Some(known) = self.head()?.member(user_id.as_str()) {
            return Ok(known.clone());
        }
        let member = match self.current("m.room.member", user_id.as_str()).await? {
            Some(row) => {
                let event_id = self.event_row(row.num).await?.event_id().to_owned();
                let event_id =
                    OwnedEventId::try_from(event_id).map_err(|error| EngineError::Inconsistent(error.to_string()))?;
                let event = StateRef { num: row.num, event_id };
                Some(Member { event, membership: row.membership.to_state() })
            }
            None => None,
        };
        self.head_mut()?.remember(user_id.as_str(), member.clone());
        Ok(member)
    }

    /// The membership of a user as this writer sees it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn membership(&mut self, user_id: &UserId) -> Result<MembershipState, EngineError> {
        Ok(self.member(user_id).await?.map_or(MembershipState::Leave, |member| member.membership))
    }

    pub(crate) async fn current(&self, event_type: &str, state_key: &str) -> Result<Option<CurrentRow>, EngineError> {
        let key = (self.room.num, event_type.to_owned(), state_key.to_owned());
        Ok(self.head()?.overlay.get(&self.engine.db, &CURRENT, &key).await?)
    }

    /// An entry of the state as this writer sees it, parsed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn state(&self, event_type: &str, state_key: &str) -> Result<Option<Arc<Pdu>>, EngineError> {
        match self.current(event_type, state_key).await? {
            Some(row) => Ok(Some(self.pdu(row.num).await?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn event_row(&self, num: EventNum) -> Result<EventRow, EngineError> {
        if let Some(staged) = self.staged.iter().find(|staged| staged.num == num) {
            return Ok(staged.row.clone());
        }
        let key = EVENTS.key(&(self.room.num, num));
        if let Some(Some(bytes)) = self.head()?.overlay.peek(EVENTS.keyspace, &key) {
            return Ok(EVENTS.decode(bytes)?);
        }
        self.engine.event(self.room.num, num).await
    }

    pub(crate) async fn pdu(&self, num: EventNum) -> Result<Arc<Pdu>, EngineError> {
        match self.staged.iter().find(|staged| staged.num == num) {
            Some(staged) => Ok(Arc::clone(&staged.pdu)),
            None => load::pdu(self.engine, self.room, self.head()?, num).await,
        }
    }

    /// Authorises, signs and stages an event.
    ///
    /// # Errors
    /// [`EngineError::Forbidden`] where the rules refuse it, [`EngineError::TooLarge`] and [`EngineError::BadEvent`]; the
    /// writer is then of no more use where something was staged before.
    pub async fn append(&mut self, event: NewEvent<'_>) -> Result<Appended, EngineError> {
        let (signed, cited) = self.authorised(&event).await?;
        if self.head()?.row.extremities.len() > room::build::MAX_PREV_EVENTS {
            // It cannot follow them all, so the state before it is not the current one.
            return Box::pin(self.append_to_some(&event, signed)).await;
        }
        self.accept(event, signed, &cited).await
    }

    /// The event as it would be sent now, signed, and the numbers of what it cites.
    pub(crate) async fn authorised(
        &mut self,
        event: &NewEvent<'_>,
    ) -> Result<(SignedEvent, SmallVec<[EventNum; 8]>), EngineError> {
        self.check_target_known(event).await?;
        let auth_events = self.auth_events(event).await?;
        // What most refusals need: no signature is made for an event that is not allowed.
        let undecided = match self.quick_verdict(event).await? {
            Ok(()) => false,
            Err(AuthError::Undecided) => true,
            Err(error) => return Err(error.into()),
        };
        if let Some(target) = event.redacts.filter(|_| event.event_type == TimelineEventType::RoomRedaction) {
            self.may_redact(event.sender, target).await?;
        }
        let legacy = self.legacy(&auth_events).await?;
        let signed = self.sign(event, &auth_events, legacy.as_ref())?;
        if let Some(target) = signed.pdu.redacts.as_deref().filter(|_| event.redacts.is_none()) {
            self.may_redact(event.sender, target).await?;
        }
        if event.state_key.is_some() || undecided {
            self.authorise_fully(&signed.pdu, &auth_events).await?;
        }
        Ok((signed, auth_events.iter().map(|(_, _, found)| found.num).collect()))
    }

    async fn quick_verdict(&mut self, event: &NewEvent<'_>) -> Result<Result<(), AuthError>, EngineError> {
        let Some(view) = self.head()?.auth.clone() else { return Ok(Err(AuthError::Undecided)) };
        let membership = self.membership(event.sender).await?;
        Ok(match event.state_key {
            Some(state_key) => view.can_send_state(event.sender, &membership, &event.event_type, state_key),
            None => view.can_send_message_like(event.sender, &membership, &event.event_type),
        })
    }

    /// The state events that allow this one, by id and number.
    async fn auth_events(
        &mut self,
        event: &NewEvent<'_>,
    ) -> Result<Vec<(StateEventType, String, StateRef)>, EngineError> {
        let rules = &self.room.rules.authorization;
        let mut out = Vec::with_capacity(4);
        if event.state_key.is_none() {
            // The common case, without looking at the content.
            let sender = self.member(event.sender).await?;
            let head = self.head()?;
            if !rules.room_create_event_id_as_room_id {
                out.extend(head.create.clone().map(|found| (StateEventType::RoomCreate, String::new(), found)));
            }
            out.extend(head.power_levels.clone().map(|found| (StateEventType::RoomPowerLevels, String::new(), found)));
            let key = event.sender.to_string();
            out.extend(sender.map(|member| (StateEventType::RoomMember, key, member.event)));
            return Ok(out);
        }
        let content: &RawValue =
            serde_json::from_str(event.content).map_err(|error| EngineError::BadEvent(error.to_string()))?;
        for (kind, key) in auth::auth_types(&event.event_type, event.sender, event.state_key, content, rules)
            .map_err(|error| EngineError::BadEvent(error.to_string()))?
        {
            if let Some(row) = self.current(&kind.to_string(), &key).await? {
                let event_id = self.pdu(row.num).await?.event_id.clone();
                out.push((kind, key, StateRef { num: row.num, event_id }));
            }
        }
        Ok(out)
    }

    fn sign(
        &self,
        event: &NewEvent<'_>,
        auth_events: &[(StateEventType, String, StateRef)],
        legacy: Option<&Legacy>,
    ) -> Result<SignedEvent, EngineError> {
        let head = self.head()?;
        let rules = &self.room.rules;
        let prev_events: Vec<OwnedEventId> =
            head.row.extremities.iter().take(room::build::MAX_PREV_EVENTS).map(|end| end.event_id.clone()).collect();
        let auth_events: Vec<OwnedEventId> = auth_events.iter().map(|(_, _, found)| found.event_id.clone()).collect();
        let nameless =
            rules.authorization.room_create_event_id_as_room_id && event.event_type == TimelineEventType::RoomCreate;
        let room_id: &RoomId = &self.room.id;
        let ts = event.origin_server_ts.unwrap_or_else(|| self.engine.now());
        let draft = EventDraft {
            room_id: (!nameless).then_some(room_id),
            sender: event.sender,
            event_type: &event.event_type,
            state_key: event.state_key,
            content: event.content,
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new_saturating(ts)),
            depth: head.row.next_depth(),
            prev_events: &prev_events,
            auth_events: &auth_events,
            redacts: event.redacts,
            legacy: legacy.map(|legacy| LegacyIds { event_id: &legacy.event_id, hashes: &legacy.hashes }),
        };
        Ok(sign(&draft, rules, &self.engine.identity.server_name, &self.engine.identity.key)?)
    }

    async fn authorise_fully(
        &self,
        pdu: &Pdu,
        auth_events: &[(StateEventType, String, StateRef)],
    ) -> Result<(), EngineError> {
        let mut state = Vec::with_capacity(auth_events.len() + 1);
        for (kind, key, found) in auth_events {
            state.push((kind.clone(), key.clone(), self.pdu(found.num).await?));
        }
        if let Some(create) = &self.head()?.create {
            let pdu = self.pdu(create.num).await?;
            state.push((StateEventType::RoomCreate, String::new(), pdu));
        }
        let by_id =
            |id: &EventId| state.iter().find(|(_, _, pdu)| pdu.event_id == id).map(|(_, _, pdu)| Arc::clone(pdu));
        let by_key = |kind: &StateEventType, key: &str| {
            state.iter().find(|(k, s, _)| k == kind && s == key).map(|(_, _, pdu)| Arc::clone(pdu))
        };
        Ok(auth::check_auth(&self.room.rules.authorization, pdu, by_id, by_key)?)
    }

    /// Stages an event that was found to be allowed.
    async fn accept(
        &mut self,
        event: NewEvent<'_>,
        signed: SignedEvent,
        cited: &[EventNum],
    ) -> Result<Appended, EngineError> {
        self.await_policy(&signed, event.device, event.txn_id);
        let (event_id, num) = (signed.pdu.event_id.clone(), self.head()?.row.next_num);
        let fields = find_fields(&signed.json).ok_or_else(|| EngineError::BadEvent("no event".to_owned()))?;
        let state_key = event.state_key.map(|key| (event.event_type.to_string(), key.to_owned()));
        let replaces = match &state_key {
            Some((kind, key)) => self.current(kind, key).await?,
            None => None,
        };
        let head = self.head()?;
        let meta = EventMeta {
            verdict: Verdict::Accepted,
            outlier: false,
            partial_state: head.partial.is_some(),
            state_from: StateFrom::Graph,
            visibility: visibility_across(head.info.visibility, &signed.pdu),
            pos: 0,
            depth: i64::try_from(signed.pdu.depth).unwrap_or(i64::MAX),
            arrival: head.row.next_arrival,
            sender: event.sender_num,
            origin_server_ts: signed.pdu.origin_server_ts.0.into(),
            state_before: head.row.root,
            replaces: replaces.map_or(0, |row| row.num),
            event_id: event_id.to_string(),
            device: label(event.device),
            txn_id: label(event.txn_id),
            redacted_by: String::new(),
            relation: relation(event.content),
        };
        let depth = meta.depth;
        let staged = Staged {
            num,
            row: EventRow::new(&meta, &fields, &signed.json),
            pdu: Arc::new(signed.pdu),
            relation: meta.relation,
            new_root: None,
            to: None,
        };
        let before = self.others()?;
        self.ops.extend(self.engine.projector.project(self.room.num, num, &staged.pdu));
        let pdu = Arc::clone(&staged.pdu);
        let (relation, place) = (staged.relation.clone(), HistoryPoint::before(&staged.row));
        self.staged.push(staged);
        if let Some((kind, target)) = relation {
            self.mark_related(&target).await?;
            self.mark_thread(&kind, &target, place).await?;
        }
        self.advance(Extremity { num, depth, event_id: event_id.clone() })?;
        if let Some((kind, key)) = state_key {
            self.cite(cited, num);
            self.change_state(&pdu, num, replaces, kind, key).await?;
        }
        self.address(&pdu, replaces, before, None).await?;
        if pdu.event_type == TimelineEventType::RoomRedaction {
            self.redact_target(&pdu, num).await?;
        }
        Ok(Appended { num, event_id })
    }

    /// What auth chains are compared by: who cites whom.
    pub(crate) fn cite(&mut self, cited: &[EventNum], num: EventNum) {
        for parent in cited {
            self.stage(CITED.put(&(self.room.num, *parent, num), &()));
        }
    }

    fn advance(&mut self, end: Extremity) -> Result<(), EngineError> {
        let row = &mut self.head_mut()?.row;
        row.next_num += 1;
        row.next_arrival += 1;
        row.extremities.clear();
        row.extremities.push(end);
        Ok(())
    }

    pub(crate) async fn change_state(
        &mut self,
        pdu: &Pdu,
        num: EventNum,
        replaces: Option<CurrentRow>,
        kind: String,
        key: String,
    ) -> Result<(), EngineError> {
        let is_member = pdu.event_type == TimelineEventType::RoomMember;
        let membership = if is_member { membership_in(pdu.content.get()) } else { Membership::Leave };
        let room = self.room.num;
        let head = self.head()?;
        let nodes = RoomNodes { engine: self.engine, room, overlay: Some(&head.overlay) };
        let change = (state_tree::Key::new(kind.as_str(), key.as_str()), Some(num));
        let applied = state_tree::apply(&nodes, head.row.root, &[change]).await?;
        for (id, node) in applied.new_nodes {
            self.stage(NODES.put(&(room, id.0), &node));
        }
        self.stage(CURRENT.put(&(room, kind.clone(), key.clone()), &CurrentRow { num, membership }));
        let head = self.head_mut()?;
        head.row.root = applied.root;
        head.info.root = applied.root;
        if let Some(staged) = self.staged.last_mut() {
            staged.new_root = Some(applied.root);
        }
        self.state_changed = true;
        if is_member {
            self.change_member(pdu, num, replaces, membership, &key).await?;
        }
        match kind.as_str() {
            "m.room.create" | "m.room.power_levels" | "m.room.join_rules" | "m.room.history_visibility"
                if key.is_empty() =>
            {
                self.refresh_auth().await?;
            }
            "m.room.encryption" if key.is_empty() => self.head_mut()?.info.encrypted = true,
            "m.room.server_acl" if key.is_empty() => {
                self.head_mut()?.info.acl = Some(Arc::new(ServerAcl::parse(pdu.content.get())));
            }
            POLICY if key.is_empty() => self.head_mut()?.info.policy = crate::policy::parse(pdu),
            _ => {}
        }
        Ok(())
    }

    /// Parses the deciding state again. Staged events must be visible in the overlay for that.
    pub(crate) async fn refresh_auth(&mut self) -> Result<(), EngineError> {
        let rows: Vec<Op> =
            self.staged.iter().map(|staged| EVENTS.put(&(self.room.num, staged.num), &staged.row)).collect();
        let (engine, room) = (self.engine, self.room);
        let head = self.head_mut()?;
        for row in &rows {
            head.overlay.stage(row);
        }
        load::refresh_auth(engine, room, head).await
    }
}

/// A device or transaction id as kept with an event.
pub(crate) fn label(id: Option<&str>) -> String {
    id.filter(|id| id.len() <= MAX_ID).unwrap_or_default().to_owned()
}

/// For the event that changes the visibility, the wider of before and after holds.
pub(crate) fn visibility_across(before: Visibility, pdu: &Pdu) -> Visibility {
    if pdu.event_type != TimelineEventType::RoomHistoryVisibility || pdu.state_key.as_deref() != Some("") {
        return before;
    }
    let after = room::visibility::of_event(Some(pdu));
    let after = Visibility::parse(after.as_str());
    let width = |visibility| match visibility {
        Visibility::WorldReadable => 3,
        Visibility::Shared => 2,
        Visibility::Invited => 1,
        Visibility::Joined => 0,
    };
    if width(after) > width(before) { after } else { before }
}

/// `m.relates_to` of a content, where it names a type and an event.
pub(crate) fn relation(content: &str) -> Option<(String, String)> {
    #[derive(serde::Deserialize)]
    struct Content<'a> {
        #[serde(borrow, rename = "m.relates_to")]
        relates_to: Option<&'a RawValue>,
    }
    #[derive(serde::Deserialize)]
    struct RelatesTo {
        rel_type: String,
        event_id: String,
    }
    if !content.contains("m.relates_to") {
        return None;
    }
    let raw = serde_json::from_str::<Content<'_>>(content).ok()?.relates_to?;
    let found: RelatesTo = serde_json::from_str(raw.get()).ok()?;
    let fits = found.rel_type.len() <= MAX_RELATION && (1..=MAX_RELATION).contains(&found.event_id.len());
    fits.then_some((found.rel_type, found.event_id))
}
