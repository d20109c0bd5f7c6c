//! Whether an event that came from elsewhere is allowed.
//! [Checks on receipt of a PDU](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu), steps 4 to 6.

use std::{collections::HashMap, sync::Arc};

use room::{AuthorizationRules, Pdu, auth, pdu::SharedPdu};
use ruma::{EventId, OwnedEventId, events::StateEventType};

use crate::{
    error::EngineError,
    row::Verdict,
    state_tree::{self, NodeId},
    tables::EventNum,
    writer::RoomWriter,
};

pub(crate) type Deciding = HashMap<(StateEventType, String), SharedPdu>;

/// By what an event is judged beside the events that it cites and the state before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Judging {
    /// The state now has its say as well.
    pub(crate) by_now: bool,
    /// Members are missing from the states: of those the memberships that it cites are taken.
    pub(crate) partial: bool,
}

/// Whether the events that an event cites allow it: step 4. `named` has all of them; `create` is the room's create event, which in
/// version 12 is not among them.
pub(crate) fn allowed_by_cited(
    rules: &AuthorizationRules,
    pdu: &Pdu,
    mut named: HashMap<OwnedEventId, SharedPdu>,
    create: Option<SharedPdu>,
) -> bool {
    let mut state: Deciding = named.values().filter_map(|pdu| Some((pdu.state_slot()?, Arc::clone(pdu)))).collect();
    if rules.room_create_event_id_as_room_id
        && let Some(create) = create
    {
        state.insert((StateEventType::RoomCreate, String::new()), Arc::clone(&create));
        named.insert(create.event_id.clone(), create);
    }
    auth::check_independent(rules, pdu, |id: &EventId| named.get(id).cloned()).is_ok() && allows(rules, pdu, &state)
}

fn allows(rules: &AuthorizationRules, pdu: &Pdu, state: &Deciding) -> bool {
    let entry = |kind: &StateEventType, key: &str| state.get(&(kind.clone(), key.to_owned())).cloned();
    auth::check_dependent(rules, pdu, entry).is_ok()
}

/// The memberships among cited events.
fn members(named: &HashMap<OwnedEventId, SharedPdu>) -> Deciding {
    let genuine = named.values().filter(|pdu| !pdu.rejected);
    let slots = genuine.filter_map(|pdu| Some((pdu.state_slot()?, Arc::clone(pdu))));
    slots.filter(|((kind, _), _)| *kind == StateEventType::RoomMember).collect()
}

fn add_absent(state: &mut Deciding, members: &Deciding) {
    for (slot, pdu) in members {
        state.entry(slot.clone()).or_insert_with(|| Arc::clone(pdu));
    }
}

impl RoomWriter<'_> {
    /// Judges an event by the events it cites (`cited`), by the state before it, and by what else is said.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn judge(
        &self,
        pdu: &Pdu,
        cited: &[EventNum],
        before: NodeId,
        judging: Judging,
    ) -> Result<Verdict, EngineError> {
        // Its form is not that of an event, yet others follow it.
        if pdu.rejected {
            return Ok(Verdict::Rejected);
        }
        let rules = &self.room.rules.authorization;
        let kinds = auth::auth_types(&pdu.event_type, &pdu.sender, pdu.state_key.as_deref(), &pdu.content, rules);
        let Ok(mut kinds) = kinds else { return Ok(Verdict::Rejected) };
        // In version 12 it is nobody's auth event, yet decides.
        kinds.push((StateEventType::RoomCreate, String::new()));
        let mut state = self.deciding_at(before, &kinds).await?;
        let create = state.get(&(StateEventType::RoomCreate, String::new())).cloned();
        let mut named = HashMap::with_capacity(cited.len() + 1);
        for num in cited {
            let pdu = self.pdu(*num).await?;
            named.insert(pdu.event_id.clone(), pdu);
        }
        let cited_members = if judging.partial { members(&named) } else { Deciding::new() };
        add_absent(&mut state, &cited_members);
        if !allowed_by_cited(rules, pdu, named, create) || !self.allows(pdu, &state) {
            return Ok(Verdict::Rejected);
        }
        let now = self.head()?.row.root;
        if judging.by_now && now != before {
            let mut state = self.deciding_at(now, &kinds).await?;
            add_absent(&mut state, &cited_members);
            if !self.allows(pdu, &state) {
                return Ok(Verdict::SoftFailed);
            }
        }
        Ok(Verdict::Accepted)
    }

    fn allows(&self, pdu: &Pdu, state: &Deciding) -> bool {
        allows(&self.room.rules.authorization, pdu, state)
    }

    pub(crate) async fn deciding_at(
        &self,
        root: NodeId,
        kinds: &[(StateEventType, String)],
    ) -> Result<Deciding, EngineError> {
        let keys: Vec<(String, &str)> = kinds.iter().map(|(kind, key)| (kind.to_string(), key.as_str())).collect();
        let keys: Vec<(&str, &str)> = keys.iter().map(|(kind, key)| (kind.as_str(), *key)).collect();
        let found = state_tree::get_many(&self.branches()?.nodes(), root, &keys).await?;
        let mut state = Deciding::with_capacity(kinds.len());
        for (slot, num) in kinds.iter().zip(found) {
            if let Some(num) = num {
                state.insert(slot.clone(), self.pdu(num).await?);
            }
        }
        Ok(state)
    }
}
