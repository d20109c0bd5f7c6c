//! The fewest transfers at all.
//!
//! A plan of n people with k groups that each add up to zero needs n − k transfers, and no plan does with fewer than for
//! the largest such k. So the search is for the most zero-sum groups.

use std::collections::{BTreeMap, BinaryHeap};

use crate::fold::Flow;
use crate::ids::Person;
use crate::money::Amount;

/// Up to how many non-zero balances, exact opposites aside, the answer is exact.
pub const EXACT_UP_TO: usize = 20;

/// The fewest transfers that bring balances to zero, and whether that is proven. Balances are positive where the person
/// is owed and add up to zero; a person who stands there twice is added up. Independent of the order.
pub fn minimal(balances: &[(Person, Amount)]) -> (Vec<Flow>, bool) {
    let mut sums: BTreeMap<&Person, Amount> = BTreeMap::new();
    for (who, amount) in balances {
        *sums.entry(who).or_default() += *amount;
    }
    let open: Vec<(Person, Amount)> =
        sums.into_iter().filter(|(_, a)| !a.is_zero()).map(|(who, a)| (who.clone(), a)).collect();
    let (mut flows, rest) = cancel_opposites(&open);
    let exact = rest.len() <= EXACT_UP_TO;
    if exact {
        for group in zero_sum_groups(&rest) {
            flows.extend(match_up(&group));
        }
    } else {
        flows.extend(greedy(&rest));
        let plain = greedy(&open);
        if plain.len() < flows.len() {
            flows = plain;
        }
    }
    flows.sort_by(|a, b| (&a.debtor, &a.creditor).cmp(&(&b.debtor, &b.creditor)));
    (flows, exact)
}

/// Pairs a debtor with a creditor of exactly the same amount. Safe: some best plan has every such pair.
fn cancel_opposites(open: &[(Person, Amount)]) -> (Vec<Flow>, Vec<(Person, Amount)>) {
    let mut debtors: BTreeMap<Amount, Vec<&Person>> = BTreeMap::new();
    for (who, amount) in open.iter().rev().filter(|(_, a)| a.signum() < 0) {
        debtors.entry(amount.abs()).or_default().push(who);
    }
    let mut flows = Vec::new();
    let mut rest = Vec::new();
    for (who, amount) in open.iter().filter(|(_, a)| a.signum() > 0) {
        match debtors.get_mut(amount).and_then(Vec::pop) {
            Some(debtor) => flows.push(Flow { debtor: debtor.clone(), creditor: who.clone(), amount: *amount }),
            None => rest.push((who.clone(), *amount)),
        }
    }
    for (amount, people) in debtors {
        rest.extend(people.into_iter().map(|who| (who.clone(), -amount)));
    }
    rest.sort();
    (flows, rest)
}

/// Splits balances into the most groups that each add up to zero, by dynamic programming over subsets.
///
/// `best[set]` is the most zero-sum groups that the members of `set` pass through, taken one after the other in the best
/// order. The last person is left out: whoever they are with is what the others leave over.
fn zero_sum_groups(open: &[(Person, Amount)]) -> Vec<Vec<(Person, Amount)>> {
    let Some((last, others)) = open.split_last() else {
        return Vec::new();
    };
    let size = 1_usize << others.len();
    let mut sums = vec![0_i128; size];
    let mut best = vec![0_u8; size];
    for set in 1..size {
        let low = set & set.wrapping_neg();
        let amount = others.get(low.trailing_zeros() as usize).map_or(0, |o| o.1.0);
        let sum = sums.get(set ^ low).copied().unwrap_or_default().saturating_add(amount);
        let mut most = 0;
        let mut bits = set;
        while bits != 0 {
            let bit = bits & bits.wrapping_neg();
            bits ^= bit;
            most = most.max(best.get(set ^ bit).copied().unwrap_or_default());
        }
        if let (Some(s), Some(b)) = (sums.get_mut(set), best.get_mut(set)) {
            *s = sum;
            *b = most + u8::from(sum == 0);
        }
    }
    let mut groups = vec![vec![last.clone()]];
    let mut set = size - 1;
    while set != 0 {
        let here = best.get(set).copied().unwrap_or_default();
        let zero = sums.get(set) == Some(&0);
        if zero {
            groups.push(Vec::new());
        }
        let rest = here - u8::from(zero);
        let next = (0..others.len()).find(|i| set >> i & 1 == 1 && best.get(set ^ (1 << i)) == Some(&rest));
        let Some(i) = next else { break };
        if let (Some(group), Some(person)) = (groups.last_mut(), others.get(i)) {
            group.push(person.clone());
        }
        set ^= 1 << i;
    }
    groups
}

/// Settles one zero-sum group with at most one transfer fewer than it has people.
fn match_up(group: &[(Person, Amount)]) -> Vec<Flow> {
    let mut debtors: Vec<_> = group.iter().filter(|(_, a)| a.signum() < 0).map(|(w, a)| (w, a.abs())).collect();
    let mut creditors: Vec<_> = group.iter().filter(|(_, a)| a.signum() > 0).map(|(w, a)| (w, *a)).collect();
    // Largest last, to be taken first; the bytewise smaller person before the larger.
    debtors.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(a.0)));
    creditors.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(a.0)));
    let mut flows = Vec::new();
    while let (Some(debtor), Some(creditor)) = (debtors.last_mut(), creditors.last_mut()) {
        let amount = debtor.1.min(creditor.1);
        flows.push(Flow { debtor: debtor.0.clone(), creditor: creditor.0.clone(), amount });
        debtor.1 -= amount;
        creditor.1 -= amount;
        let (debtor_done, creditor_done) = (debtor.1.is_zero(), creditor.1.is_zero());
        if debtor_done {
            debtors.pop();
        }
        if creditor_done {
            creditors.pop();
        }
    }
    flows
}

/// The largest debtor pays the largest creditor, again and again.
pub(crate) fn greedy(open: &[(Person, Amount)]) -> Vec<Flow> {
    let heap = |sign: i128| -> BinaryHeap<(Amount, std::cmp::Reverse<&Person>)> {
        open.iter().filter(|(_, a)| a.signum() == sign).map(|(w, a)| (a.abs(), std::cmp::Reverse(w))).collect()
    };
    let (mut debtors, mut creditors) = (heap(-1), heap(1));
    let mut flows = Vec::new();
    while let (Some((owes, debtor)), Some((owed, creditor))) = (debtors.pop(), creditors.pop()) {
        let amount = owes.min(owed);
        flows.push(Flow { debtor: debtor.0.clone(), creditor: creditor.0.clone(), amount });
        if owes > amount {
            debtors.push((owes - amount, debtor));
        }
        if owed > amount {
            creditors.push((owed - amount, creditor));
        }
    }
    flows
}
