//! State resolution of room version 1.
//! [The algorithm](https://spec.matrix.org/v1.19/rooms/v1/#state-resolution).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use ruma::{
    EventId, OwnedEventId, events::StateEventType, room_version_rules::AuthorizationRules, state_res::StateMap,
};
use sha1::{Digest as _, Sha1};

use super::ResolveError;
use crate::{auth::check_dependent, pdu::SharedPdu};

type Key = (StateEventType, String);

/// Resolves the keys of `conflicted`; the arguments are those of [`super::resolve_reduced`].
pub(super) fn resolve(
    rules: &AuthorizationRules,
    conflicted: &[StateMap<OwnedEventId>],
    unconflicted: impl Fn(&StateEventType, &str) -> Option<OwnedEventId>,
    fetch_event: &impl Fn(&EventId) -> Option<SharedPdu>,
) -> Result<StateMap<OwnedEventId>, ResolveError> {
    let mut candidates: BTreeMap<Key, BTreeSet<&OwnedEventId>> = BTreeMap::new();
    for (key, id) in conflicted.iter().flatten() {
        candidates.entry(key.clone()).or_default().insert(id);
    }

    // What only some states have is no conflict in this version, as long as those that have it agree.
    let mut resolved: StateMap<SharedPdu> = StateMap::new();
    let mut disputes: BTreeMap<Key, Vec<SharedPdu>> = BTreeMap::new();
    for (key, ids) in candidates {
        let events = ids.into_iter().map(|id| fetch(id, fetch_event)).collect::<Result<Vec<_>, _>>()?;
        match <[SharedPdu; 1]>::try_from(events) {
            Ok([only]) => drop(resolved.insert(key, only)),
            Err(several) => drop(disputes.insert(key, several)),
        }
    }

    // Each of the types that decide about others, in this order, then the rest. Within one step every key is resolved against the
    // outcome of the steps before, so that the order of the keys has no influence.
    let decisive = [StateEventType::RoomPowerLevels, StateEventType::RoomJoinRules, StateEventType::RoomMember];
    for step in 0..=decisive.len() {
        let mut outcome = Vec::new();
        for (key, events) in &disputes {
            if decisive.iter().position(|kind| *kind == key.0).unwrap_or(decisive.len()) != step {
                continue;
            }
            let state = |event_type: &StateEventType, state_key: &str| {
                let key = (event_type.clone(), state_key.to_owned());
                resolved.get(&key).cloned().or_else(|| fetch_event(&unconflicted(event_type, state_key)?))
            };
            let winner = if step < decisive.len() {
                last_allowed(rules, key, events, state)
            } else {
                best(rules, events, state)
            };
            outcome.extend(winner.map(|event| (key.clone(), event)));
        }
        resolved.extend(outcome);
    }
    Ok(resolved.into_iter().map(|(key, event)| (key, event.event_id.clone())).collect())
}

/// Power levels, join rules, memberships: from the oldest on, each event must be allowed by the one before it.
fn last_allowed(
    rules: &AuthorizationRules,
    key: &Key,
    events: &[SharedPdu],
    state: impl Fn(&StateEventType, &str) -> Option<SharedPdu>,
) -> Option<SharedPdu> {
    let ascending = sorted(events);
    let mut ascending = ascending.iter().rev();
    let mut holds = (*ascending.next()?).clone();
    for event in ascending {
        let with_holder = |event_type: &StateEventType, state_key: &str| {
            if *event_type == key.0 && state_key == key.1 { Some(holds.clone()) } else { state(event_type, state_key) }
        };
        if check_dependent(rules, &**event, with_holder).is_err() {
            break;
        }
        holds = (*event).clone();
    }
    Some(holds)
}

/// Everything else: the newest event that is allowed. If none is, the oldest stays, as in the servers that defined this version; the
/// specification leaves the case open, and an entry that vanished would be a reset of its own.
fn best(
    rules: &AuthorizationRules,
    events: &[SharedPdu],
    state: impl Fn(&StateEventType, &str) -> Option<SharedPdu>,
) -> Option<SharedPdu> {
    let descending = sorted(events);
    let allowed = descending.iter().find(|event| check_dependent(rules, &***event, &state).is_ok());
    allowed.or(descending.last()).map(|event| (*event).clone())
}

/// Greatest depth first, then smallest SHA-1 of the id.
fn sorted(events: &[SharedPdu]) -> Vec<&SharedPdu> {
    let mut sorted: Vec<&SharedPdu> = events.iter().collect();
    sorted.sort_by_cached_key(|event| (Reverse(event.depth), Sha1::digest(event.event_id.as_str()).to_vec()));
    sorted
}

fn fetch(id: &EventId, fetch_event: &impl Fn(&EventId) -> Option<SharedPdu>) -> Result<SharedPdu, ResolveError> {
    fetch_event(id).ok_or_else(|| ResolveError::Missing(id.to_owned()))
}
