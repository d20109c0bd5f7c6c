//! The fewest transfers along debts that exist.
//!
//! A transfer may go from A to B only where A owes B. Any set of transfers that settles a group of n people can be
//! thinned to a forest without turning an edge round, so n people need at most n − 1; they need fewer by one for every
//! part that can be settled on its own. For small groups the parts are searched exhaustively.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::fold::Flow;
use crate::ids::Person;
use crate::money::Amount;

/// Up to how many connected people the answer is exact whatever their debts.
const EXACT_UP_TO: usize = 10;
/// Beyond so many debts they are left as they are.
const MAX_DEBTS: usize = 20_000;

/// One directed debt between numbered people.
#[derive(Debug, Clone, Copy)]
struct Edge {
    from: usize,
    to: usize,
    amount: Amount,
}

/// The fewest transfers along existing debts, and whether that is proven. `debts` are netted: no pair both ways.
/// Independent of the order.
pub fn edges(debts: &[Flow]) -> (Vec<Flow>, bool) {
    if debts.len() > MAX_DEBTS {
        return (debts.to_vec(), false);
    }
    let people: BTreeSet<&Person> = debts.iter().flat_map(|d| [&d.debtor, &d.creditor]).collect();
    let people: Vec<&Person> = people.into_iter().collect();
    let number: BTreeMap<&Person, usize> = people.iter().enumerate().map(|(i, p)| (*p, i)).collect();
    let mut all: Vec<Edge> = debts
        .iter()
        .filter_map(|d| Some(Edge { from: *number.get(&d.debtor)?, to: *number.get(&d.creditor)?, amount: d.amount }))
        .collect();
    all.sort_by_key(|e| (e.from, e.to));
    let mut exact = true;
    let mut chosen = Vec::new();
    for (members, part) in components(people.len(), &all) {
        let forest = part.len() + 1 == members.len();
        if forest {
            chosen.extend(part);
        } else if members.len() <= EXACT_UP_TO {
            chosen.extend(best(&members, &part));
        } else {
            exact = false;
            chosen.extend(thin(people.len(), &part));
        }
    }
    let mut flows: Vec<Flow> = chosen
        .into_iter()
        .filter_map(|e| {
            let (debtor, creditor) = ((*people.get(e.from)?).clone(), (*people.get(e.to)?).clone());
            Some(Flow { debtor, creditor, amount: e.amount })
        })
        .collect();
    flows.sort_by(|a, b| (&a.debtor, &a.creditor).cmp(&(&b.debtor, &b.creditor)));
    (flows, exact)
}

/// Connected people and the debts among them.
fn components(n: usize, edges: &[Edge]) -> Vec<(Vec<usize>, Vec<Edge>)> {
    let mut neighbours = vec![Vec::new(); n];
    for edge in edges {
        for (a, b) in [(edge.from, edge.to), (edge.to, edge.from)] {
            if let Some(list) = neighbours.get_mut(a) {
                list.push(b);
            }
        }
    }
    let mut label: Vec<Option<usize>> = vec![None; n];
    let mut found: Vec<(Vec<usize>, Vec<Edge>)> = Vec::new();
    for start in 0..n {
        if label.get(start) != Some(&None) {
            continue;
        }
        let mut members = Vec::new();
        let mut queue = vec![start];
        while let Some(node) = queue.pop() {
            let Some(slot) = label.get_mut(node).filter(|slot| slot.is_none()) else {
                continue;
            };
            *slot = Some(found.len());
            members.push(node);
            queue.extend(neighbours.get(node).into_iter().flatten());
        }
        members.sort_unstable();
        found.push((members, Vec::new()));
    }
    for edge in edges {
        let component = label.get(edge.from).copied().flatten();
        if let Some((_, list)) = component.and_then(|c| found.get_mut(c)) {
            list.push(*edge);
        }
    }
    found
}

/// The best answer for at most [`EXACT_UP_TO`] people: the most parts that can each be settled on their own.
fn best(members: &[usize], edges: &[Edge]) -> Vec<Edge> {
    let n = members.len();
    let local = |node: usize| members.binary_search(&node).unwrap_or_default();
    let edges: Vec<Edge> =
        edges.iter().map(|e| Edge { from: local(e.from), to: local(e.to), amount: e.amount }).collect();
    let mut nets = vec![Amount::ZERO; n];
    for edge in &edges {
        nets.iter_mut().enumerate().for_each(|(i, net)| {
            if i == edge.to {
                *net += edge.amount;
            } else if i == edge.from {
                *net -= edge.amount;
            }
        });
    }
    let full = (1_usize << n) - 1;
    let parts: Vec<Option<Vec<Edge>>> = (0..=full).map(|set| settle_alone(set, &nets, &edges)).collect();
    let mut most = vec![0_usize; full + 1];
    let mut choice = vec![0_usize; full + 1];
    for set in 1..=full {
        let low = set & set.wrapping_neg();
        // Every part that has the lowest member: `set` less a subset of the others.
        let others = set ^ low;
        let mut left = others;
        let mut top: Option<(usize, usize)> = None;
        loop {
            let part = set ^ left;
            if parts.get(part).is_some_and(Option::is_some) && (left == 0 || choice.get(left).is_some_and(|c| *c != 0))
            {
                let count = most.get(left).copied().unwrap_or_default() + 1;
                if top.is_none_or(|(c, _)| count > c) {
                    top = Some((count, part));
                }
            }
            if left == 0 {
                break;
            }
            left = (left - 1) & others;
        }
        if let (Some((count, part)), Some(m), Some(c)) = (top, most.get_mut(set), choice.get_mut(set)) {
            (*m, *c) = (count, part);
        }
    }
    let mut chosen = Vec::new();
    let mut set = full;
    while let Some(part) = choice.get(set).copied().filter(|p| *p != 0) {
        chosen.extend(parts.get(part).cloned().flatten().unwrap_or_default());
        set ^= part;
    }
    let global = |node: usize| members.get(node).copied().unwrap_or_default();
    chosen.into_iter().map(|e| Edge { from: global(e.from), to: global(e.to), amount: e.amount }).collect()
}

/// Transfers along the debts within `set` that settle it on its own, thinned to a forest; `None` if there are none.
fn settle_alone(set: usize, nets: &[Amount], edges: &[Edge]) -> Option<Vec<Edge>> {
    let inside = |node: usize| set >> node & 1 == 1;
    let members: Vec<usize> = (0..nets.len()).filter(|i| inside(*i)).collect();
    let net = |i: usize| nets.get(i).copied().unwrap_or_default();
    if !members.iter().map(|i| net(*i)).sum::<Amount>().is_zero() {
        return None;
    }
    let mut left: Vec<Amount> = nets.to_vec();
    let mut flows: Vec<Edge> =
        edges.iter().filter(|e| inside(e.from) && inside(e.to)).map(|e| Edge { amount: Amount::ZERO, ..*e }).collect();
    // Augmenting paths from whoever owes to whoever is owed; an edge may also be walked back as far as it is used.
    while let Some(start) = members.iter().copied().find(|i| left.get(*i).is_some_and(|a| a.signum() < 0)) {
        let path = augment(start, &left, &flows)?;
        let end = path.last().map_or(start, |(_, node, _)| *node);
        let mut amount =
            left.get(start).map_or(Amount::ZERO, |a| a.abs()).min(left.get(end).copied().unwrap_or_default());
        for (edge, _, forward) in &path {
            if let (false, Some(e)) = (*forward, flows.get(*edge)) {
                amount = amount.min(e.amount);
            }
        }
        for (edge, _, forward) in &path {
            if let Some(e) = flows.get_mut(*edge) {
                e.amount += if *forward { amount } else { -amount };
            }
        }
        if let Some(a) = left.get_mut(start) {
            *a += amount;
        }
        if let Some(a) = left.get_mut(end) {
            *a -= amount;
        }
    }
    flows.retain(|e| !e.amount.is_zero());
    Some(thin(nets.len(), &flows))
}

/// A shortest path from `start` to anybody who is owed: (edge, node reached, walked forwards).
fn augment(start: usize, left: &[Amount], flows: &[Edge]) -> Option<Vec<(usize, usize, bool)>> {
    let mut came: Vec<Option<(usize, usize, bool)>> = vec![None; left.len()];
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        if left.get(node).is_some_and(|a| a.signum() > 0) {
            let mut path = Vec::new();
            let mut at = node;
            while at != start {
                let (edge, before, forward) = came.get(at).copied().flatten()?;
                path.push((edge, at, forward));
                at = before;
            }
            path.reverse();
            return Some(path);
        }
        for (i, edge) in flows.iter().enumerate() {
            let step = if edge.from == node {
                Some((edge.to, true))
            } else if edge.to == node && !edge.amount.is_zero() {
                Some((edge.from, false))
            } else {
                None
            };
            if let Some((next, forward)) = step.filter(|(next, _)| *next != start)
                && let Some(slot) = came.get_mut(next).filter(|slot| slot.is_none())
            {
                *slot = Some((i, node, forward));
                queue.push_back(next);
            }
        }
    }
    None
}

/// Removes every undirected cycle by shifting amounts round it until one edge is empty. Directions and net positions
/// stay.
fn thin(n: usize, edges: &[Edge]) -> Vec<Edge> {
    let mut kept: Vec<Edge> = Vec::new();
    // For every node the indexes in `kept` of its edges; emptied edges stay behind with amount zero.
    let mut at: Vec<Vec<usize>> = vec![Vec::new(); n];
    for edge in edges {
        let mut edge = *edge;
        if let Some(path) = walk(edge.to, edge.from, &kept, &at) {
            // Round the cycle in the new edge's direction: what goes along with it, and what goes against it.
            let along = path.iter().filter(|(_, forward)| *forward).count() + 1;
            let shrink_along = along * 2 > path.len();
            let amounts = path.iter().filter(|(_, f)| *f == shrink_along).filter_map(|(i, _)| kept.get(*i));
            let least = amounts.map(|e| e.amount).chain(shrink_along.then_some(edge.amount)).min().unwrap_or_default();
            let step = |forward: bool| {
                if forward == shrink_along { -least } else { least }
            };
            for (i, forward) in &path {
                if let Some(e) = kept.get_mut(*i) {
                    e.amount += step(*forward);
                }
            }
            edge.amount += step(true);
            for (i, _) in &path {
                if let Some(e) = kept.get(*i).filter(|e| e.amount.is_zero()) {
                    for node in [e.from, e.to] {
                        at.get_mut(node).into_iter().for_each(|list| list.retain(|j| j != i));
                    }
                }
            }
        }
        if !edge.amount.is_zero() {
            for node in [edge.from, edge.to] {
                at.get_mut(node).into_iter().for_each(|list| list.push(kept.len()));
            }
            kept.push(edge);
        }
    }
    kept.retain(|e| !e.amount.is_zero());
    kept
}

/// The way from one node to another in a forest: edges, and whether each is walked in its own direction.
fn walk(from: usize, to: usize, kept: &[Edge], at: &[Vec<usize>]) -> Option<Vec<(usize, bool)>> {
    let mut came: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        if node == to {
            let mut path = Vec::new();
            let mut here = to;
            while here != from {
                let (before, edge) = *came.get(&here)?;
                path.push((edge, kept.get(edge)?.to == here));
                here = before;
            }
            path.reverse();
            return Some(path);
        }
        for i in at.get(node).into_iter().flatten() {
            let Some(edge) = kept.get(*i) else { continue };
            let next = if edge.from == node { edge.to } else { edge.from };
            if next != from && !came.contains_key(&next) {
                came.insert(next, (node, *i));
                queue.push_back(next);
            }
        }
    }
    None
}
