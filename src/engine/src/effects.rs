//! What follows from an accepted event inside the same commit: memberships, redactions, relations.

use std::sync::Arc;

use room::{Pdu, fast::RoomAuthView};
use ruma::{EventId, UserId, events::StateEventType, state_res::events::RoomPowerLevelsIntField};

use crate::{
    engine::parse,
    error::EngineError,
    head::{Member, StateRef},
    judge::Deciding,
    row::EventRow,
    splice::{find_fields, write_stripped},
    staged::UserChange,
    state::CurrentRow,
    tables::{EVENT_IDS, EVENTS, EventNum, INVITE_STATE, OUTSIDE, PARKED_REDACTIONS, RELATED, USER_ROOMS, UserNum},
    user_rooms::Membership,
    writer::RoomWriter,
};

/// What an invited or knocking user gets to see of the room.
pub(crate) const STRIPPED: [&str; 8] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
    "com.cliquepay.ledger",
];

/// The largest content that is shown to invited users, in bytes.
const STRIPPED_MAX: usize = 4096;

impl RoomWriter<'_> {
    pub(crate) async fn change_member(
        &mut self,
        pdu: &Pdu,
        num: EventNum,
        replaces: Option<CurrentRow>,
        membership: Membership,
        user_id: &str,
    ) -> Result<(), EngineError> {
        let event = StateRef { num, event_id: pdu.event_id.clone() };
        let member = Member { event, membership: membership.to_state() };
        self.head_mut()?.remember(user_id, Some(member));
        self.move_member(num, replaces, membership, user_id).await
    }

    /// A membership changes from what a row says: the counts, and the rows of a user of ours.
    pub(crate) async fn move_member(
        &mut self,
        num: EventNum,
        replaces: Option<CurrentRow>,
        membership: Membership,
        user_id: &str,
    ) -> Result<(), EngineError> {
        let before = replaces.map_or(Membership::Leave, |row| row.membership);
        let head = self.head_mut()?;
        let count = |counter: &mut u64, was: bool, is: bool| match (was, is) {
            (false, true) => *counter += 1,
            (true, false) => *counter = counter.saturating_sub(1),
            _ => {}
        };
        count(&mut head.info.joined, before == Membership::Join, membership == Membership::Join);
        count(&mut head.info.invited, before == Membership::Invite, membership == Membership::Invite);
        let Ok(user_id) = <&UserId>::try_from(user_id) else { return Ok(()) };
        if !self.engine.is_local(user_id) {
            let (was, is) = (before == Membership::Join, membership == Membership::Join);
            return if was == is { Ok(()) } else { self.count_remote(user_id, is).await };
        }
        let user = self.engine.user_num(user_id).await?;
        self.change_local_member(user, num, before, membership).await
    }

    async fn change_local_member(
        &mut self,
        user: UserNum,
        num: EventNum,
        before: Membership,
        membership: Membership,
    ) -> Result<(), EngineError> {
        let room = self.room.num;
        let (index, first) = (self.staged.len().saturating_sub(1) as u64, 0);
        let earlier = self.user_changes.iter().rev().find(|change| change.user == user).map(|change| change.row(first));
        let row = match earlier {
            Some(row) => Some(row),
            None => self.head()?.overlay.get(&self.engine.db, &USER_ROOMS, &(user, room)).await?,
        };
        self.user_changes.push(UserChange { user, num, index, before: row, membership });
        let asked = |membership| matches!(membership, Membership::Invite | Membership::Knock);
        let outside = row.filter(|row| row.num == 0);
        if outside.is_some() {
            self.op(OUTSIDE.delete(&(user, room)));
        }
        if (before == Membership::Join) != (membership == Membership::Join) {
            let info = &mut self.head_mut()?.info;
            let mut members: Vec<UserNum> =
                info.local_members.iter().copied().filter(|member| *member != user).collect();
            if membership == Membership::Join {
                members.push(user);
            }
            info.local_members = members.into();
        }
        if asked(membership) {
            let state = self.stripped_state(num).await?;
            self.op(INVITE_STATE.put(&(user, room), &state.into()));
        } else if asked(before) || outside.is_some_and(|row| asked(row.membership)) {
            self.op(INVITE_STATE.delete(&(user, room)));
        }
        Ok(())
    }

    /// The room as an invited or knocking user sees it, with their own membership event: a JSON array.
    async fn stripped_state(&self, own: EventNum) -> Result<Vec<u8>, EngineError> {
        let mut out = String::from("[");
        for kind in STRIPPED {
            if let Some(row) = self.current(kind, "").await? {
                let row = self.event_row(row.num).await?;
                // A copy goes to everybody who is invited: what is large stays out.
                if row.content().len() <= STRIPPED_MAX || kind == "m.room.create" {
                    write_stripped(&mut out, &row);
                    out.push(',');
                }
            }
        }
        let own = self.event_row(own).await?;
        if let Some(inviter) = self.current("m.room.member", own.sender()).await? {
            let row = self.event_row(inviter.num).await?;
            if row.event_id() != own.event_id() {
                write_stripped(&mut out, &row);
                out.push(',');
            }
        }
        write_stripped(&mut out, &own);
        out.push(']');
        Ok(out.into_bytes())
    }

    /// Whether one of our users may redact an event: their own, or anybody's with the power to. (For events from other servers
    /// the rules only compare domains; we answer for our own users, so that none empties what another one here said.)
    pub(crate) async fn may_redact(&self, sender: &UserId, target: &EventId) -> Result<(), EngineError> {
        let Some(num) = self.find(target).await? else { return Ok(()) };
        let row = self.event_row(num).await?;
        if is_foundation(&row) {
            return Err(EngineError::Forbidden("the room stands on this event: it cannot be redacted".to_owned()));
        }
        if row.sender() == sender.as_str() {
            return Ok(());
        }
        let refused =
            || EngineError::Forbidden("sender's power level is too low to redact other people's events".to_owned());
        let view = self.head()?.auth.clone().ok_or_else(refused)?;
        let power = view.user_power_level(sender)?;
        if power >= view.level(RoomPowerLevelsIntField::Redact)? { Ok(()) } else { Err(refused()) }
    }

    /// Applies a redaction to its target where that is here and the redaction may touch it; parks it where it is not here.
    pub(crate) async fn redact_target(&mut self, redaction: &Pdu, num: EventNum) -> Result<(), EngineError> {
        // A state event of this type says what it likes: it redacts nothing.
        let Some(target) = redaction.redacts.clone().filter(|_| redaction.state_key.is_none()) else { return Ok(()) };
        let Some(place) = self.find(&target).await? else {
            self.stage(PARKED_REDACTIONS.put(&(self.room.num, target.to_string(), num), &()));
            return Ok(());
        };
        let row = self.event_row(place).await?;
        let Ok(sender) = <&UserId>::try_from(row.sender()) else { return Ok(()) };
        if row.is_redacted() || is_foundation(&row) || !self.redacts(redaction, num, sender).await? {
            return Ok(());
        }
        let emptied = redacted_copy(&row, &redaction.event_id, self.room)?;
        if let Some(staged) = self.staged.iter_mut().find(|staged| staged.num == place) {
            // It lands with this very commit: emptied from the start.
            staged.pdu = Arc::new(parse(&emptied, self.room)?);
            (staged.row, staged.relation) = (emptied, None);
            return if row.is_state() { self.refresh_auth().await } else { Ok(()) };
        }
        let is_state = row.is_state();
        let op = EVENTS.put(&(self.room.num, place), &emptied);
        self.head_mut()?.overlay.stage(&op);
        self.op(op);
        self.rewritten.push((place, emptied));
        if is_state {
            self.head_mut()?.forget_members();
            self.state_changed = true;
            self.refresh_auth().await?;
        }
        Ok(())
    }

    /// Whether a redaction has the power to empty what a user said: by the state before it, so that all servers say the same, whenever
    /// they hear of it; by what it cites, where it is known by itself.
    pub(crate) async fn redacts(&self, redaction: &Pdu, num: EventNum, of: &UserId) -> Result<bool, EngineError> {
        let rules = &self.room.rules.authorization;
        // In the first versions that it was allowed to come says that it may do what it does.
        if rules.special_case_room_redaction || redaction.sender.server_name() == of.server_name() {
            return Ok(true);
        }
        let key = |kind: StateEventType| (kind, String::new());
        let kinds = [key(StateEventType::RoomCreate), key(StateEventType::RoomPowerLevels)];
        let row = self.event_row(num).await?;
        let state = if row.outlier() {
            self.cited_by(redaction).await?
        } else {
            self.deciding_at(row.state_before(), &kinds).await?
        };
        let [create, levels] = kinds.map(|kind| state.get(&kind).cloned());
        Ok(create.is_some_and(|create| {
            let view = RoomAuthView::new(rules, &create, levels.as_deref(), None, None);
            view.can_redact(&redaction.sender, of).is_ok()
        }))
    }

    /// What an event cites, and the create event, by their places in the state.
    async fn cited_by(&self, pdu: &Pdu) -> Result<Deciding, EngineError> {
        let mut cited = Deciding::new();
        for id in pdu.auth_events.iter().chain(&self.create_id()) {
            let Some(num) = self.find(id).await? else { continue };
            let pdu = self.pdu(num).await?;
            if let Some(slot) = pdu.state_slot().filter(|_| !pdu.rejected) {
                cited.insert(slot, pdu);
            }
        }
        Ok(cited)
    }

    pub(crate) async fn find(&self, event_id: &EventId) -> Result<Option<EventNum>, EngineError> {
        if let Some(staged) = self.staged.iter().find(|staged| staged.pdu.event_id == event_id) {
            return Ok(Some(staged.num));
        }
        let found = self.head()?.overlay.get(&self.engine.db, &EVENT_IDS, &event_id.to_string()).await?;
        Ok(found.filter(|place| place.room == self.room.num).map(|place| place.num))
    }

    /// Marks the target of a relation, so that readers know where to look for bundles.
    pub(crate) async fn mark_related(&mut self, target: &str) -> Result<(), EngineError> {
        let Ok(target) = <&EventId>::try_from(target) else { return Ok(()) };
        if let Some(num) = self.find(target).await? {
            let key = RELATED.key(&(self.room.num, num));
            // One row for the first of many: all later ones find it.
            if self.head()?.overlay.peek(RELATED.keyspace, &key).is_none()
                && self.engine.db.get_raw(RELATED.keyspace, &key).await?.is_none()
            {
                let op = RELATED.put(&(self.room.num, num), &());
                self.head_mut()?.overlay.stage(&op);
                self.op(op);
            }
        }
        Ok(())
    }
}

/// Events without whose content a room does not work any more.
fn is_foundation(row: &EventRow) -> bool {
    row.is_state() && matches!(&*row.event_type(), "m.room.create" | "m.room.server_acl")
}

fn redacted_copy(row: &EventRow, by: &EventId, room: &crate::room::Room) -> Result<EventRow, EngineError> {
    let json =
        room::redact::strip(row.json(), &room.rules).map_err(|error| EngineError::Inconsistent(error.to_string()))?;
    let fields =
        find_fields(&json).ok_or_else(|| EngineError::Inconsistent("redacted event is no event".to_owned()))?;
    let mut meta = row.meta();
    meta.redacted_by = by.to_string();
    meta.relation = None;
    Ok(EventRow::new(&meta, &fields, &json))
}
