//! State resolution: which state holds where branches of the room meet.
//!
//! Version 2 of the algorithm, in both its forms, is ruma's; version 1 is in [`v1`]. [`resolve`] takes whole states. [`resolve_reduced`]
//! takes only what differs between them, and asks for the little it needs of the rest; it is what a server with large rooms calls.
//! Both give the same result.

mod chain;
mod v1;

use std::collections::HashSet;

use ruma::{
    EventId, OwnedEventId,
    events::StateEventType,
    room_version_rules::{RoomVersionRules, StateResolutionV2Rules, StateResolutionVersion},
    state_res,
};

pub use self::chain::{auth_chain, auth_difference};
pub use ruma::state_res::{StateMap, utils::event_id_set::EventIdSet};

use crate::{auth::auth_types, pdu::SharedPdu};

/// A set of event ids.
pub type EventIds = EventIdSet<OwnedEventId>;

/// Why a state could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// An event that is needed is not there.
    #[error("event {0} is missing")]
    Missing(OwnedEventId),
    /// A state map holds an event that is no state event, or an event that decides about others is malformed.
    #[error("{0}")]
    Malformed(String),
    /// A room version whose algorithm is not known.
    #[error("unknown state resolution version")]
    UnknownVersion,
}

impl From<state_res::Error> for ResolveError {
    fn from(error: state_res::Error) -> Self {
        match error {
            state_res::Error::NotFound(event_id) => Self::Missing(event_id),
            other => Self::Malformed(other.to_string()),
        }
    }
}

/// The state that holds where these states meet.
///
/// `auth_chain_of` gives the union of the auth chains of all events in a state, each without the event itself (see
/// [`auth_chain`]); it is not asked for in version 1, nor when the states agree.
///
/// # Errors
/// [`ResolveError`]; never a partial result.
pub fn resolve(
    rules: &RoomVersionRules,
    states: &[StateMap<OwnedEventId>],
    fetch_event: impl Fn(&EventId) -> Option<SharedPdu>,
    auth_chain_of: impl Fn(&StateMap<OwnedEventId>) -> Result<EventIds, ResolveError>,
) -> Result<StateMap<OwnedEventId>, ResolveError> {
    let (unconflicted, conflicted) = split(states);
    if conflicted.iter().all(StateMap::is_empty) {
        return Ok(unconflicted);
    }
    match &rules.state_res {
        StateResolutionVersion::V1 => {
            let lookup = |event_type: &StateEventType, state_key: &str| {
                unconflicted.get(&(event_type.clone(), state_key.to_owned())).cloned()
            };
            let mut resolved = v1::resolve(&rules.authorization, &conflicted, lookup, &fetch_event)?;
            resolved.extend(unconflicted);
            Ok(resolved)
        }
        StateResolutionVersion::V2(v2) => {
            all_present(conflicted.iter().flat_map(StateMap::values), &fetch_event)?;
            let chains = states.iter().map(auth_chain_of).collect::<Result<Vec<_>, _>>()?;
            resolve_v2(rules, v2, states, chains, &conflicted, &fetch_event)
        }
        _ => Err(ResolveError::UnknownVersion),
    }
}

/// As [`resolve`], from reduced inputs.
///
/// - `conflicted`: for each of the states, its entries under every key on which the states are not all the same (a key absent from
///   one of them counts).
/// - `unconflicted(type, state_key)`: the entry that all states share, if any.
/// - `difference`: the events that are in some but not in all of the states' auth chains, see [`auth_difference`].
///
/// The result holds no key that is unconflicted: the resolved state is the unconflicted entries and these.
///
/// # Errors
/// [`ResolveError`]; never a partial result.
pub fn resolve_reduced(
    rules: &RoomVersionRules,
    conflicted: &[StateMap<OwnedEventId>],
    unconflicted: impl Fn(&StateEventType, &str) -> Option<OwnedEventId>,
    difference: &EventIds,
    fetch_event: impl Fn(&EventId) -> Option<SharedPdu>,
) -> Result<StateMap<OwnedEventId>, ResolveError> {
    if conflicted.iter().all(StateMap::is_empty) {
        return Ok(StateMap::new());
    }
    let v2 = match &rules.state_res {
        StateResolutionVersion::V1 => {
            return v1::resolve(&rules.authorization, conflicted, unconflicted, &fetch_event);
        }
        StateResolutionVersion::V2(v2) => v2,
        _ => return Err(ResolveError::UnknownVersion),
    };
    let used = conflicted.iter().flat_map(StateMap::values).chain(difference.iter());
    all_present(used, &fetch_event)?;
    let shared = needed(rules, v2, conflicted, &unconflicted, difference, &fetch_event);
    let states: Vec<StateMap<OwnedEventId>> = conflicted
        .iter()
        .map(|entries| entries.iter().chain(&shared).map(|(key, id)| (key.clone(), id.clone())).collect())
        .collect();
    // Two chains of which one is empty: their difference is the other one.
    let chains = vec![difference.clone(), EventIds::new()];
    let mut resolved = resolve_v2(rules, v2, &states, chains, conflicted, &fetch_event)?;
    resolved.retain(|(event_type, state_key), _| unconflicted(event_type, state_key).is_none());
    Ok(resolved)
}

/// The unconflicted entries that authorising the conflicted events can ask for: the create event, power levels, join rules, and those
/// memberships and third-party invites that they name. (The power levels, by which events are ordered as well, are among them for
/// every event.)
fn needed(
    rules: &RoomVersionRules,
    v2: &StateResolutionV2Rules,
    conflicted: &[StateMap<OwnedEventId>],
    unconflicted: &impl Fn(&StateEventType, &str) -> Option<OwnedEventId>,
    difference: &EventIds,
    fetch_event: &impl Fn(&EventId) -> Option<SharedPdu>,
) -> StateMap<OwnedEventId> {
    let mut shared = StateMap::new();
    // From version 12 on, authorisation starts from nothing; the shared state is only laid over the result.
    if v2.begin_iterative_auth_checks_with_empty_state_map {
        return shared;
    }
    let mut ask = |event_type: StateEventType, state_key: String| {
        if let Some(id) = unconflicted(&event_type, &state_key) {
            shared.insert((event_type, state_key), id);
        }
    };
    let candidates: HashSet<&EventId> =
        conflicted.iter().flat_map(StateMap::values).map(|id| &**id).chain(difference.iter().map(|id| &**id)).collect();
    for event in candidates.into_iter().filter_map(fetch_event) {
        // Malformed events have no auth types; the algorithm skips them as well.
        let types = auth_types(
            &event.event_type,
            &event.sender,
            event.state_key.as_deref(),
            &event.content,
            &rules.authorization,
        );
        for (event_type, state_key) in types.unwrap_or_default() {
            ask(event_type, state_key);
        }
    }
    shared
}

fn resolve_v2(
    rules: &RoomVersionRules,
    v2: &StateResolutionV2Rules,
    states: &[StateMap<OwnedEventId>],
    chains: Vec<EventIds>,
    conflicted: &[StateMap<OwnedEventId>],
    fetch_event: &impl Fn(&EventId) -> Option<SharedPdu>,
) -> Result<StateMap<OwnedEventId>, ResolveError> {
    let subgraph = if v2.consider_conflicted_state_subgraph {
        Some(chain::conflicted_subgraph(conflicted, fetch_event)?)
    } else {
        None
    };
    Ok(state_res::resolve(&rules.authorization, v2, states, chains, fetch_event, |_| subgraph.clone())?)
}

/// ruma passes over events it cannot fetch; a state resolved without them would be a guess.
fn all_present<'a>(
    mut ids: impl Iterator<Item = &'a OwnedEventId>,
    fetch_event: &impl Fn(&EventId) -> Option<SharedPdu>,
) -> Result<(), ResolveError> {
    let missing = ids.find(|id| fetch_event(id).is_none());
    missing.map_or(Ok(()), |id| Err(ResolveError::Missing(id.clone())))
}

/// Splits states into the entries that all share and, for each state, the others.
fn split(states: &[StateMap<OwnedEventId>]) -> (StateMap<OwnedEventId>, Vec<StateMap<OwnedEventId>>) {
    let Some((first, others)) = states.split_first() else {
        return (StateMap::new(), Vec::new());
    };
    let unconflicted: StateMap<OwnedEventId> = first
        .iter()
        .filter(|(key, id)| others.iter().all(|other| other.get(*key) == Some(id)))
        .map(|(key, id)| (key.clone(), id.clone()))
        .collect();
    let conflicted = states
        .iter()
        .map(|state| {
            let own = state.iter().filter(|(key, _)| !unconflicted.contains_key(*key));
            own.map(|(key, id)| (key.clone(), id.clone())).collect()
        })
        .collect();
    (unconflicted, conflicted)
}
