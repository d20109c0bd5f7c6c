//! Whether an event that came from elsewhere is allowed.
//! [Checks on receipt of a PDU](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu), steps 4 to 6.

use std::{collections::HashMap, sync::Arc};

use room::{Pdu, auth, pdu::SharedPdu};
use ruma::{EventId, OwnedEventId, events::StateEventType};

use crate::{
    error::EngineError,
    row::Verdict,
    state_tree::{self, NodeId},
    tables::EventNum,
    writer::RoomWriter,
};

type Deciding = HashMap<(StateEventType, String), SharedPdu>;

impl RoomWriter<'_> {
    /// Judges an event by the events it cites (`cited`), by the state before it, and by the state now.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn judge(&self, pdu: &Pdu, cited: &[EventNum], before: NodeId) -> Result<Verdict, EngineError> {
        let rules = &self.room.rules.authorization;
        let kinds = auth::auth_types(&pdu.event_type, &pdu.sender, pdu.state_key.as_deref(), &pdu.content, rules);
        let Ok(mut kinds) = kinds else { return Ok(Verdict::Rejected) };
        // In version 12 it is nobody's auth event, yet decides.
        kinds.push((StateEventType::RoomCreate, String::new()));
        let create = self.state("m.room.create", "").await?;
        let mut named: HashMap<OwnedEventId, SharedPdu> = HashMap::new();
        for num in cited {
            let pdu = self.pdu(*num).await?;
            named.insert(pdu.event_id.clone(), pdu);
        }
        let mut by_cited: Deciding =
            named.values().filter_map(|pdu| Some((pdu.state_slot()?, Arc::clone(pdu)))).collect();
        if rules.room_create_event_id_as_room_id
            && let Some(create) = create
        {
            by_cited.insert((StateEventType::RoomCreate, String::new()), Arc::clone(&create));
            named.insert(create.event_id.clone(), create);
        }
        if auth::check_independent(rules, pdu, |id: &EventId| named.get(id).cloned()).is_err()
            || !self.allows(pdu, &by_cited)
            || !self.allows(pdu, &self.deciding_at(before, &kinds).await?)
        {
            return Ok(Verdict::Rejected);
        }
        let now = self.head()?.row.root;
        if now != before && !self.allows(pdu, &self.deciding_at(now, &kinds).await?) {
            return Ok(Verdict::SoftFailed);
        }
        Ok(Verdict::Accepted)
    }

    fn allows(&self, pdu: &Pdu, state: &Deciding) -> bool {
        let entry = |kind: &StateEventType, key: &str| state.get(&(kind.clone(), key.to_owned())).cloned();
        auth::check_dependent(&self.room.rules.authorization, pdu, entry).is_ok()
    }

    async fn deciding_at(&self, root: NodeId, kinds: &[(StateEventType, String)]) -> Result<Deciding, EngineError> {
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
