//! Auth chains and what is made of them.

use std::collections::{HashMap, HashSet};

use ruma::{EventId, OwnedEventId, state_res::StateMap};

use super::{EventIds, ResolveError};
use crate::pdu::SharedPdu;

/// The union of the auth chains of `events`: everything reached by following `auth_events`, without the events themselves unless
/// another's chain holds them.
///
/// # Errors
/// [`ResolveError::Missing`] if an event of the chain is not there: a chain is never cut short.
pub fn auth_chain<'a>(
    events: impl IntoIterator<Item = &'a OwnedEventId>,
    fetch_event: impl Fn(&EventId) -> Option<SharedPdu>,
) -> Result<EventIds, ResolveError> {
    let mut chain = EventIds::new();
    let mut open: Vec<OwnedEventId> = Vec::new();
    for id in events {
        open.extend(parents(id, &fetch_event)?.auth_events.iter().cloned());
    }
    while let Some(id) = open.pop() {
        if chain.contains(&id) {
            continue;
        }
        open.extend(parents(&id, &fetch_event)?.auth_events.iter().cloned());
        chain.insert(id);
    }
    Ok(chain)
}

/// The events that are in some but not in all of the states' auth chains, from the chains of the states' *conflicted* entries alone:
/// what is also in the chain of the unconflicted entries (`in_shared_chain`) is in all of them.
pub fn auth_difference(conflicted_chains: &[EventIds], in_shared_chain: impl Fn(&EventId) -> bool) -> EventIds {
    let mut counts: HashMap<&OwnedEventId, usize> = HashMap::new();
    for id in conflicted_chains.iter().flat_map(EventIds::iter) {
        *counts.entry(id).or_default() += 1;
    }
    counts
        .into_iter()
        .filter(|(id, count)| *count < conflicted_chains.len() && !in_shared_chain(id))
        .map(|(id, _)| id.clone())
        .collect()
}

/// The conflicted state subgraph: every event on a path along `auth_events` from one conflicted event to another, ends included.
/// [State resolution in version 12](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution). Conflicted events without such a path
/// are in the result too; the algorithm adds them anyway.
pub(super) fn conflicted_subgraph(
    conflicted: &[StateMap<OwnedEventId>],
    fetch_event: &impl Fn(&EventId) -> Option<SharedPdu>,
) -> Result<EventIds, ResolveError> {
    let ends: HashSet<OwnedEventId> = conflicted.iter().flat_map(StateMap::values).cloned().collect();

    // Everything below the conflicted events, and who cites whom there.
    let mut cited_by: HashMap<OwnedEventId, Vec<OwnedEventId>> = HashMap::new();
    let mut seen: HashSet<OwnedEventId> = ends.clone();
    let mut open: Vec<OwnedEventId> = ends.iter().cloned().collect();
    while let Some(id) = open.pop() {
        for parent in &parents(&id, fetch_event)?.auth_events {
            cited_by.entry(parent.clone()).or_default().push(id.clone());
            if seen.insert(parent.clone()) {
                open.push(parent.clone());
            }
        }
    }

    // Back up from the conflicted events: whoever cites what leads to one of them leads to it as well.
    let mut subgraph: EventIds = ends.iter().cloned().collect();
    let mut open: Vec<OwnedEventId> = ends.into_iter().collect();
    while let Some(id) = open.pop() {
        for child in cited_by.remove(&id).unwrap_or_default() {
            if subgraph.insert(child.clone()) {
                open.push(child);
            }
        }
    }
    Ok(subgraph)
}

fn parents(id: &EventId, fetch_event: &impl Fn(&EventId) -> Option<SharedPdu>) -> Result<SharedPdu, ResolveError> {
    fetch_event(id).ok_or_else(|| ResolveError::Missing(id.to_owned()))
}
