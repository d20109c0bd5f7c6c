//! `answers`: two entries about the same payment are one.

use std::collections::BTreeSet;

use super::Ledger;
use super::place::Place;
use crate::entry::{Body, Settlement};
use crate::ids::EventId;
use crate::money::Amount;

impl Ledger {
    /// The settlement that stands for a group, unless it is void.
    fn standing(&self, group: usize) -> Option<&Settlement> {
        let outcome = &self.groups.get(group)?.outcome;
        self.records.get(outcome.winner.as_ref()?)?.entry.valid()?.settlement()
    }

    /// The group of a version, if the event is one.
    pub(super) fn group_of(&self, id: &EventId) -> Option<usize> {
        let body = self.records.get(id)?.entry.valid()?;
        if matches!(body, Body::Verdict(_)) {
            return None;
        }
        match self.place(id) {
            Place::Group(group) => Some(group),
            Place::Loose(..) => None,
        }
    }

    /// The group whose payment this one records too: its own where it answers none. Answers do not chain: an entry that
    /// answers another is not answered, so that nobody can move others' records by pointing their own elsewhere.
    fn payment(&self, group: usize) -> usize {
        let answered = || {
            let own = self.standing(group)?;
            let other = self.group_of(own.answers.as_ref()?)?;
            let standing = self.standing(other)?;
            (other != group && standing.answers.is_none() && standing.same_parties(own)).then_some(other)
        };
        answered().unwrap_or(group)
    }

    /// The groups that any version of this one answers or is answered by, itself included.
    fn neighbours(&self, group: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([group]);
        let Some(outcome) = self.groups.get(group).map(|g| &g.outcome) else {
            return found;
        };
        for version in &outcome.versions {
            let answers = self.records.get(version).and_then(|r| r.entry.valid()?.settlement()?.answers.clone());
            found.extend(answers.iter().filter_map(|id| self.group_of(id)));
            found.extend(self.answered.get(version).into_iter().flatten().filter_map(|id| self.group_of(id)));
        }
        found
    }

    /// Every group whose standing may change with that of the groups given, these included.
    pub(super) fn linked(&self, groups: &BTreeSet<usize>) -> BTreeSet<usize> {
        if self.answered.is_empty() {
            return groups.clone();
        }
        let near: BTreeSet<usize> = groups.iter().flat_map(|g| self.neighbours(*g)).collect();
        near.difference(groups)
            .flat_map(|g| self.neighbours(*g))
            .collect::<BTreeSet<_>>()
            .union(&near)
            .copied()
            .collect()
    }

    /// The version that stands for this group's payment, where that is another group's.
    pub(super) fn absorbed_by(&self, group: usize) -> Option<EventId> {
        if self.answered.is_empty() {
            return None;
        }
        self.standing(group)?;
        let root = self.payment(group);
        let members =
            self.neighbours(root).into_iter().filter(|g| self.payment(*g) == root && self.standing(*g).is_some());
        // In force before not; then the one that was answered; then the larger amount; then the smaller event id.
        let best = members.max_by_key(|g| {
            let outcome = self.groups.get(*g).map(|g| &g.outcome);
            let amount = self.standing(*g).map_or(Amount::ZERO, |s| s.moves().1);
            let id = outcome.and_then(|o| o.winner.clone());
            (outcome.is_some_and(|o| o.in_force), *g == root, amount, std::cmp::Reverse(id))
        })?;
        if best == group {
            return None;
        }
        self.groups.get(best)?.outcome.winner.clone()
    }
}
