//! The room's event graph: order, depth, forward extremities.

use std::{
    borrow::Borrow,
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
};

use ruma::{EventId, OwnedEventId};

use crate::{build::MAX_DEPTH, pdu::Pdu};

/// A batch of events in an order in which they can be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Positions in the batch; every event comes after those of its `prev_events` and `auth_events` that are in the batch.
    pub sorted: Vec<usize>,
    /// Positions of events that are part of a cycle or behind one. (Only forged events of versions 1 and 2 can be.)
    pub cyclic: Vec<usize>,
}

/// Orders a batch so that what an event refers to comes first; among events that do not depend on each other, by depth, then by
/// id. Of events with the same id only the first counts; the others are left out.
pub fn topological_order<P: Borrow<Pdu>>(events: &[P]) -> Order {
    let mut positions: HashMap<&EventId, usize> = HashMap::with_capacity(events.len());
    for (position, event) in events.iter().enumerate() {
        positions.entry(&event.borrow().event_id).or_insert(position);
    }

    let mut waiting_for: HashMap<usize, usize> = HashMap::with_capacity(positions.len());
    let mut followers: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut ready = BinaryHeap::new();
    for (position, event) in events.iter().enumerate() {
        let event: &Pdu = event.borrow();
        if positions.get(&*event.event_id) != Some(&position) {
            continue;
        }
        let needs: BTreeSet<usize> = event
            .prev_events
            .iter()
            .chain(&event.auth_events)
            .filter_map(|id| positions.get::<EventId>(id).copied())
            .collect();
        for need in &needs {
            followers.entry(*need).or_default().push(position);
        }
        if needs.is_empty() {
            ready.push(Reverse((event.depth, &event.event_id, position)));
        } else {
            waiting_for.insert(position, needs.len());
        }
    }

    let mut sorted = Vec::with_capacity(positions.len());
    while let Some(Reverse((_, _, position))) = ready.pop() {
        sorted.push(position);
        for follower in followers.remove(&position).unwrap_or_default() {
            let Some(left) = waiting_for.get_mut(&follower) else {
                continue;
            };
            *left -= 1;
            if *left == 0 {
                waiting_for.remove(&follower);
                if let Some(event) = events.get(follower) {
                    let event: &Pdu = event.borrow();
                    ready.push(Reverse((event.depth, &event.event_id, follower)));
                }
            }
        }
    }
    let mut cyclic: Vec<usize> = waiting_for.into_keys().collect();
    cyclic.sort_unstable();
    Order { sorted, cyclic }
}

/// The depth of a new event: one more than the greatest among its predecessors, at most [`MAX_DEPTH`]; 1 without predecessors.
pub fn next_depth(depths_of_prev_events: impl IntoIterator<Item = u64>) -> u64 {
    let deepest = depths_of_prev_events.into_iter().max().unwrap_or(0);
    deepest.saturating_add(1).min(MAX_DEPTH)
}

/// What became of an event, as far as the graph's end is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Part of the room.
    Accepted,
    /// Refused by the current state only: kept and relayed, but new events do not follow it.
    SoftFailed,
    /// Refused.
    Rejected,
}

/// Updates the forward extremities for one event that has been judged. Returns whether anything changed.
///
/// An accepted event takes the place of those it follows. One that is not accepted changes nothing: it neither becomes an extremity
/// nor removes one, so that the event it follows still has a successor to come. `followed` says whether an *accepted* event that
/// follows this one is already known (events can arrive out of order); then this one is no extremity, but its predecessors are none
/// either.
pub fn update_extremities(
    extremities: &mut BTreeSet<OwnedEventId>,
    event_id: &EventId,
    prev_events: &[OwnedEventId],
    standing: Standing,
    followed: bool,
) -> bool {
    if standing != Standing::Accepted {
        return false;
    }
    let mut changed = false;
    for prev in prev_events {
        changed |= extremities.remove(prev);
    }
    if !followed {
        changed |= extremities.insert(event_id.to_owned());
    }
    changed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;
    use ruma::RoomVersionId;

    use super::*;

    fn event(id: usize, prev: &[usize], depth: u64) -> Pdu {
        let prev: Vec<String> = prev.iter().map(|id| format!("$e{id}")).collect();
        let json = serde_json::json!({
            "auth_events": [], "content": {}, "depth": depth, "origin_server_ts": 1, "prev_events": prev,
            "room_id": "!r:x", "sender": "@a:x", "type": "m.x",
        });
        let rules = RoomVersionId::V10.rules().unwrap();
        Pdu::from_json(&json.to_string(), EventId::parse(format!("$e{id}")).unwrap(), &rules).unwrap()
    }

    fn id(id: usize) -> OwnedEventId {
        EventId::parse(format!("$e{id}")).unwrap()
    }

    fn ids(list: &[usize]) -> BTreeSet<OwnedEventId> {
        list.iter().map(|n| id(*n)).collect()
    }

    #[test]
    fn depth_grows_and_is_capped() {
        assert_eq!(next_depth([]), 1);
        assert_eq!(next_depth([3, 9, 4]), 10);
        assert_eq!(next_depth([MAX_DEPTH]), MAX_DEPTH);
        assert_eq!(next_depth([u64::MAX]), MAX_DEPTH);
    }

    #[test]
    fn a_chain_has_one_extremity() {
        let mut now = ids(&[1]);
        assert!(update_extremities(&mut now, &id(2), &[id(1)], Standing::Accepted, false));
        assert_eq!(now, ids(&[2]));
    }

    #[test]
    fn what_is_not_accepted_leaves_the_extremities_alone() {
        for standing in [Standing::SoftFailed, Standing::Rejected] {
            let mut now = ids(&[1]);
            assert!(!update_extremities(&mut now, &id(2), &[id(1)], standing, false));
            assert_eq!(now, ids(&[1]));
        }
    }

    #[test]
    fn a_late_event_that_is_followed_is_no_extremity() {
        let mut now = ids(&[3, 5]);
        update_extremities(&mut now, &id(4), &[id(3)], Standing::Accepted, true);
        assert_eq!(now, ids(&[5]));
    }

    #[test]
    fn cycles_are_reported_and_duplicates_left_out() {
        let batch = [event(1, &[], 1), event(2, &[3], 2), event(3, &[2], 3), event(4, &[3], 4), event(1, &[], 1)];
        assert_eq!(topological_order(&batch), Order { sorted: vec![0], cyclic: vec![1, 2, 3] });
    }

    proptest! {
        /// Any acyclic graph in any order: each event after its predecessors, the same order of ids for every shuffle, and the
        /// extremities are exactly the events nobody follows.
        #[test]
        fn any_graph(edges in proptest::collection::vec(proptest::collection::vec(any::<proptest::sample::Index>(), 0..4), 1..30),
                     shuffle in any::<u64>()) {
            let graph: Vec<Vec<usize>> = edges.iter().enumerate()
                .map(|(n, prev)| if n == 0 { vec![] } else { prev.iter().map(|i| i.index(n)).collect() }).collect();
            let mut depths: Vec<u64> = vec![];
            for prev in &graph {
                depths.push(next_depth(prev.iter().map(|p| depths[*p])));
            }
            let events: Vec<Pdu> = graph.iter().enumerate().map(|(n, prev)| event(n, prev, depths[n])).collect();
            let mut shuffled = events.clone();
            shuffled.sort_by_key(|event| {
                event.event_id.as_str().bytes().fold(shuffle, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
            });
            let names = |batch: &[Pdu]| -> Vec<OwnedEventId> {
                let order = topological_order(batch);
                assert!(order.cyclic.is_empty());
                order.sorted.iter().map(|n| batch[*n].event_id.clone()).collect()
            };
            let order = names(&events);
            prop_assert_eq!(&order, &names(&shuffled));
            prop_assert_eq!(order.len(), events.len());
            let place: HashMap<_, _> = order.iter().enumerate().map(|(place, id)| (id, place)).collect();
            let mut extremities = BTreeSet::new();
            for id in &order {
                let event = events.iter().find(|event| event.event_id == *id).unwrap();
                prop_assert!(event.prev_events.iter().all(|prev| place[prev] < place[id]));
                update_extremities(&mut extremities, id, &event.prev_events, Standing::Accepted, false);
            }
            let followed: BTreeSet<_> = events.iter().flat_map(|event| event.prev_events.clone()).collect();
            let expected: BTreeSet<_> = order.iter().filter(|id| !followed.contains(*id)).cloned().collect();
            prop_assert_eq!(extremities, expected);
        }
    }
}
