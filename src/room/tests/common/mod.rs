//! A room under test: real events, signed and authorised, in any version and with any branches.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod made;

use std::{collections::HashMap, sync::Arc};

use room::{
    Pdu, RoomVersionRules, SigningKey,
    auth::{AuthError, auth_types, check_auth},
    build::{self, EventDraft, LegacyIds, SignedEvent},
    dag::next_depth,
    pdu::SharedPdu,
    resolve::{self, ResolveError, StateMap},
};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, UInt, UserId,
    events::{StateEventType, TimelineEventType},
};
use serde_json::{Value, json, value::to_raw_value};

pub type State = StateMap<OwnedEventId>;

/// Every room version there is.
pub const VERSIONS: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

pub const ALICE: &str = "@alice:one.example";
pub const BOB: &str = "@bob:one.example";
pub const CAROL: &str = "@carol:two.example";
pub const DAVE: &str = "@dave:two.example";

pub fn rules(version: &str) -> RoomVersionRules {
    RoomVersionId::try_from(version).unwrap().rules().unwrap()
}

pub fn user(id: &str) -> &UserId {
    <&UserId>::try_from(id).unwrap()
}

pub fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32], "test").unwrap()
}

/// One end of the room's graph: the newest event of a branch and the state after it.
#[derive(Debug, Clone)]
pub struct Tip {
    pub event: OwnedEventId,
    pub state: State,
}

pub struct Room {
    pub version: u8,
    pub rules: RoomVersionRules,
    pub room_id: Option<OwnedRoomId>,
    pub events: HashMap<OwnedEventId, SharedPdu>,
    pub json: HashMap<OwnedEventId, String>,
    hashes: HashMap<OwnedEventId, String>,
    key: SigningKey,
    pub clock: u64,
    /// Added to the timestamps: servers' clocks differ.
    pub skew: u64,
}

impl Room {
    pub fn empty(version: &str) -> Self {
        let rules = rules(version);
        let v12 = rules.authorization.room_create_event_id_as_room_id;
        Self {
            version: version.parse().unwrap(),
            room_id: (!v12).then(|| RoomId::parse("!room:one.example").unwrap()),
            rules,
            events: HashMap::new(),
            json: HashMap::new(),
            hashes: HashMap::new(),
            key: key(),
            clock: 1_000,
            skew: 0,
        }
    }

    /// A room that Alice created and joined, with power levels (hers 100, or unlimited in version 12) and this join rule.
    pub fn new(version: &str, join_rule: Value) -> (Self, Tip) {
        let mut room = Self::empty(version);
        let create = room.create(ALICE, json!({}));
        let joined = room.send(&create, ALICE, "m.room.member", Some(ALICE), json!({"membership": "join"})).unwrap();
        let users = if room.version >= 12 { json!({}) } else { json!({ALICE: 100}) };
        let levels = room.send(&joined, ALICE, "m.room.power_levels", Some(""), json!({"users": users})).unwrap();
        let tip = room.send(&levels, ALICE, "m.room.join_rules", Some(""), join_rule).unwrap();
        (room, tip)
    }

    /// The create event; `extra` is added to its content.
    pub fn create(&mut self, creator: &str, extra: Value) -> Tip {
        let mut content = extra.as_object().unwrap().clone();
        content.insert("room_version".into(), self.version.to_string().into());
        if self.version < 11 {
            content.insert("creator".into(), creator.into());
        }
        let start = Tip { event: EventId::parse("$none").unwrap(), state: State::new() };
        let tip = self.post(&[], &start.state, creator, "m.room.create", Some(""), content.into()).unwrap();
        self.room_id = Some(self.events[&tip.event].room_id.clone());
        tip
    }

    pub fn event(&self, id: &EventId) -> Option<SharedPdu> {
        self.events.get(id).cloned()
    }

    pub fn in_state(&self, state: &State, event_type: &StateEventType, state_key: &str) -> Option<SharedPdu> {
        self.event(state.get(&(event_type.clone(), state_key.to_owned()))?)
    }

    /// What `membership` a state gives a user.
    pub fn membership(&self, state: &State, who: &str) -> String {
        let event = self.in_state(state, &StateEventType::RoomMember, who);
        event.map_or("leave".to_owned(), |event| event.membership().unwrap().to_string())
    }

    /// Sends an event after `tip`, if the rules allow it.
    pub fn send(
        &mut self,
        tip: &Tip,
        sender: &str,
        event_type: &str,
        state_key: Option<&str>,
        content: Value,
    ) -> Result<Tip, AuthError> {
        self.post(std::slice::from_ref(&tip.event), &tip.state, sender, event_type, state_key, content)
    }

    pub fn member(&mut self, tip: &Tip, sender: &str, target: &str, membership: &str) -> Result<Tip, AuthError> {
        self.send(tip, sender, "m.room.member", Some(target), json!({"membership": membership}))
    }

    pub fn post(
        &mut self,
        prev: &[OwnedEventId],
        state: &State,
        sender: &str,
        event_type: &str,
        state_key: Option<&str>,
        content: Value,
    ) -> Result<Tip, AuthError> {
        let signed = self.draft(prev, state, sender, event_type, state_key, &content, None)?;
        let event = Arc::new(signed.pdu.clone());
        let mut state_after = state.clone();
        if let Some(slot) = event.state_slot() {
            state_after.insert(slot, event.event_id.clone());
        }
        check_auth(
            &self.rules.authorization,
            &event,
            |id| self.event(id),
            |kind, key| self.in_state(state, kind, key),
        )?;
        self.hashes.insert(event.event_id.clone(), signed.reference_hash);
        self.json.insert(event.event_id.clone(), signed.json);
        self.events.insert(event.event_id.clone(), event.clone());
        Ok(Tip { event: event.event_id.clone(), state: state_after })
    }

    /// Signs an event without judging or keeping it.
    #[allow(clippy::too_many_arguments)]
    pub fn draft(
        &mut self,
        prev: &[OwnedEventId],
        state: &State,
        sender: &str,
        event_type: &str,
        state_key: Option<&str>,
        content: &Value,
        redacts: Option<&EventId>,
    ) -> Result<SignedEvent, AuthError> {
        self.clock += 1;
        let sender = user(sender);
        let event_type = TimelineEventType::from(event_type);
        let raw = to_raw_value(content).unwrap();
        let wanted = auth_types(&event_type, sender, state_key, &raw, &self.rules.authorization)?;
        let auth_events: Vec<OwnedEventId> = wanted.iter().filter_map(|slot| state.get(slot).cloned()).collect();
        let own_id = EventId::parse(format!("$event{}:one.example", self.clock)).unwrap();
        let draft = EventDraft {
            room_id: self.room_id.as_deref(),
            sender,
            event_type: &event_type,
            state_key,
            content: raw.get(),
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new(self.clock + self.skew).unwrap()),
            depth: next_depth(prev.iter().map(|id| self.events[id].depth)),
            prev_events: prev,
            auth_events: &auth_events,
            redacts,
            legacy: Some(LegacyIds { event_id: &own_id, hashes: &self.hashes }),
        };
        Ok(build::sign(&draft, &self.rules, sender.server_name(), &self.key).unwrap())
    }

    /// State resolution on whole states.
    pub fn resolve(&self, states: &[State]) -> Result<State, ResolveError> {
        let fetch = |id: &EventId| self.event(id);
        resolve::resolve(&self.rules, states, fetch, |state| resolve::auth_chain(state.values(), fetch))
    }

    /// The same from reduced inputs.
    pub fn reduced(&self, states: &[State]) -> State {
        reduced(&self.rules, states, |id| self.event(id))
    }

    /// The tip at which several branches meet.
    pub fn merge(&mut self, tips: &[&Tip], sender: &str) -> Tip {
        let state = self.resolve(&tips.iter().map(|tip| tip.state.clone()).collect::<Vec<_>>()).unwrap();
        let prev: Vec<OwnedEventId> = tips.iter().map(|tip| tip.event.clone()).collect();
        self.post(&prev, &state, sender, "m.room.message", None, json!({"body": "met"})).unwrap()
    }
}

/// State resolution from what a server has at hand: the entries that differ, a look-up of the others, the auth chains.
pub fn reduced(
    rules: &RoomVersionRules,
    states: &[State],
    fetch: impl Fn(&EventId) -> Option<SharedPdu> + Copy,
) -> State {
    let Some(first) = states.first() else {
        return State::new();
    };
    let shared: State = first
        .iter()
        .filter(|(slot, id)| states.iter().all(|state| state.get(*slot) == Some(id)))
        .map(|(slot, id)| (slot.clone(), id.clone()))
        .collect();
    let differs = |state: &State| state.clone().into_iter().filter(|(slot, _)| !shared.contains_key(slot)).collect();
    let conflicted: Vec<State> = states.iter().map(differs).collect();
    let chains: Vec<_> = conflicted.iter().map(|state| resolve::auth_chain(state.values(), fetch).unwrap()).collect();
    let shared_chain = resolve::auth_chain(shared.values(), fetch).unwrap();
    let difference = resolve::auth_difference(&chains, |id| shared_chain.contains(id));
    let lookup = |kind: &StateEventType, key: &str| shared.get(&(kind.clone(), key.to_owned())).cloned();
    let mut resolved = resolve::resolve_reduced(rules, &conflicted, lookup, &difference, fetch).unwrap();
    assert!(resolved.keys().all(|slot| !shared.contains_key(slot)));
    resolved.extend(shared);
    resolved
}

/// Whether the rules refused an event.
pub fn refused(result: Result<Tip, AuthError>) -> bool {
    matches!(result, Err(AuthError::Denied(_)))
}

/// A parsed event from JSON, for tests that need odd ones.
pub fn odd(version: &str, id: &str, event: &Value) -> SharedPdu {
    Arc::new(Pdu::from_json(&event.to_string(), EventId::parse(id).unwrap(), &rules(version)).unwrap())
}
