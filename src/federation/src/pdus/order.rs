//! Events in the order in which they follow each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry};

use room::check::ReceivedEvent;
use ruma::{EventId, OwnedEventId};

/// Orders events so that each comes behind those of the list that it follows or cites. Events on a cycle, which only the ids of room
/// versions 1 and 2 allow, are left out, and so is what follows them. Of equal ids the first one stays.
pub(crate) fn oldest_first(events: Vec<ReceivedEvent>) -> Vec<ReceivedEvent> {
    let mut by_id: BTreeMap<OwnedEventId, ReceivedEvent> = BTreeMap::new();
    let mut ids = Vec::with_capacity(events.len());
    for event in events {
        let id = event.pdu.event_id.clone();
        if let Entry::Vacant(place) = by_id.entry(id.clone()) {
            ids.push(id);
            place.insert(event);
        }
    }
    let mut waits_for: BTreeMap<OwnedEventId, usize> = BTreeMap::new();
    let mut followers: BTreeMap<OwnedEventId, Vec<OwnedEventId>> = BTreeMap::new();
    let mut ready = VecDeque::new();
    for id in &ids {
        let Some(event) = by_id.get(id) else { continue };
        let parents: BTreeSet<&OwnedEventId> = parents(event).filter(|parent| by_id.contains_key(*parent)).collect();
        for parent in &parents {
            followers.entry((*parent).clone()).or_default().push(id.clone());
        }
        if parents.is_empty() {
            ready.push_back(id.clone());
        } else {
            waits_for.insert(id.clone(), parents.len());
        }
    }
    let mut out = Vec::with_capacity(by_id.len());
    while let Some(id) = ready.pop_front() {
        for follower in followers.remove(&id).unwrap_or_default() {
            let Some(left) = waits_for.get_mut(&follower) else { continue };
            *left = left.saturating_sub(1);
            if *left == 0 {
                ready.push_back(follower);
            }
        }
        out.extend(by_id.remove(&id));
    }
    out
}

/// What an event follows and cites.
fn parents(event: &ReceivedEvent) -> impl Iterator<Item = &OwnedEventId> {
    event.pdu.prev_events.iter().chain(&event.pdu.auth_events)
}

/// The events that some events follow, without those of the list itself, in the order of their ids.
pub(crate) fn behind<'a>(events: impl Iterator<Item = &'a ReceivedEvent> + Clone) -> Vec<OwnedEventId> {
    let here: BTreeSet<&EventId> = events.clone().map(|event| &*event.pdu.event_id).collect();
    let prev: BTreeSet<&OwnedEventId> = events.flat_map(|event| &event.pdu.prev_events).collect();
    prev.into_iter().filter(|id| !here.contains(&***id)).cloned().collect()
}
