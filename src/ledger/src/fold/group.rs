//! One group: all versions of an expense or settlement, and the verdicts on them. Which one stands, and is it in force?

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::place::Place;
use super::{Ledger, Status};
use crate::entry::{Body, Decision, Entry, Settlement};
use crate::ids::{EventId, speaker};
use crate::money::Amount;

/// What identifies an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) author: EventId,
    pub(super) uid: EventId,
    /// For a settlement, what never changes: from, to and the currencies. Two that differ in it are two entries.
    pub(super) fixed: Option<String>,
}

impl Key {
    /// The key of an expense or settlement.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let author = entry.sender.clone();
        match entry.valid()? {
            Body::Expense(e) => Some(Self { author, uid: e.uid.clone(), fixed: None }),
            Body::Settlement(s) => {
                let cleared = s.clears.as_ref().map_or("", |c| c.0.code());
                let fixed = Some(format!("{} {} {} {cleared}", s.from, s.to, s.currency));
                Some(Self { author, uid: s.uid.clone(), fixed })
            }
            _ => None,
        }
    }
}

/// A status to be given.
pub(super) type Given = (EventId, Status, Option<String>);

/// What a group comes to.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    /// The version that stands, a void included.
    pub(super) winner: Option<EventId>,
    /// Whether it is a version with content that moves balances.
    pub(super) in_force: bool,
    /// Whether the version that stands is a void.
    pub(super) void: bool,
    /// All authorised versions, the ones that nobody replaced first.
    pub(super) versions: Vec<EventId>,
    /// The versions that lost without having been seen.
    pub(super) losers: Vec<EventId>,
    /// The status of every version and verdict.
    pub(super) given: Vec<Given>,
}

impl Ledger {
    /// Evaluates a group from the entries in it alone.
    pub(super) fn evaluate(&self, group: usize) -> Outcome {
        let mut outcome = Outcome::default();
        let versions = self.versions(group);
        let settlement = self.group_settlement(group);
        let states: Vec<State<'_>> = match settlement {
            Some(s) => self.settlement_states(&versions, s, &mut outcome.given),
            None => versions.iter().map(|v| State { entry: v, in_force: true, decision: None }).collect(),
        };
        if settlement.is_some() {
            self.note_the_rest(group, &versions, &mut outcome.given);
        }
        let survivors: BTreeSet<&EventId> = states.iter().map(|s| &s.entry.id).collect();
        let replaced: BTreeSet<&EventId> = states
            .iter()
            .flat_map(|s| s.entry.valid().map(Body::over).unwrap_or_default().iter().filter(|o| **o != s.entry.id))
            .filter(|o| survivors.contains(o))
            .collect();
        let mut remaining: Vec<&State<'_>> = states.iter().filter(|s| !replaced.contains(&s.entry.id)).collect();
        if remaining.is_empty() {
            // Versions that replace each other in a circle: hashes exclude it, so any fixed answer will do.
            remaining = states.iter().collect();
        }
        let author = self.groups.get(group).and_then(|g| g.author.clone());
        remaining.sort_by_key(|s| rank(s, author.as_ref(), settlement.is_some()));
        let standing: BTreeSet<&EventId> = remaining.iter().map(|s| &s.entry.id).collect();
        let (first, rest) = match remaining.split_first() {
            Some((first, rest)) => (*first, rest),
            None => return outcome,
        };
        outcome.void = is_void(first.entry);
        outcome.in_force = !outcome.void && first.in_force;
        outcome.winner = Some(first.entry.id.clone());
        outcome.versions = remaining.iter().map(|s| s.entry.id.clone()).collect();
        outcome.versions.extend(states.iter().map(|s| s.entry.id.clone()).filter(|id| !standing.contains(id)));
        outcome.given.push((first.entry.id.clone(), first.status(), first.reason()));
        for state in rest {
            let id = state.entry.id.clone();
            if same_content(first.entry, state.entry) {
                outcome.given.push((id, Status::Superseded, Some(format!("says the same as {}", first.entry.id))));
            } else {
                outcome.losers.push(id.clone());
                outcome.given.push((id, Status::Conflict, Some(format!("stands against {}", first.entry.id))));
            }
        }
        let voided = outcome.void.then(|| first.entry.valid().map(Body::over)).flatten().unwrap_or_default();
        for state in states.iter().filter(|s| !standing.contains(&s.entry.id)) {
            let by_void = voided.contains(&state.entry.id) && !is_void(state.entry);
            let status = if by_void { Status::Void } else { Status::Superseded };
            outcome.given.push((state.entry.id.clone(), status, None));
        }
        outcome
    }

    /// The authorised versions of a group, bytewise by event id.
    fn versions(&self, group: usize) -> Vec<&Entry> {
        let Some(found) = self.groups.get(group) else {
            return Vec::new();
        };
        let mut ids: BTreeSet<&EventId> = BTreeSet::new();
        for original in &found.originals {
            ids.insert(original);
            ids.extend(self.about.get(original).into_iter().flatten());
        }
        ids.into_iter()
            .filter(|id| self.place(id) == Place::Group(group))
            .filter_map(|id| self.records.get(id).map(|r| &*r.entry))
            .filter(|entry| !matches!(entry.valid(), Some(Body::Verdict(_)) | None))
            .collect()
    }

    /// The versions of a settlement that are not held back, whether each is in force, and the verdicts' statuses.
    fn settlement_states<'a>(&self, versions: &[&'a Entry], s: &Settlement, given: &mut Vec<Given>) -> Vec<State<'a>> {
        let (payer, payee) = (speaker(&s.from), speaker(&s.to));
        let mut judged: Vec<(State<'a>, bool)> = Vec::new();
        for entry in versions {
            let own = *entry.sender == *payee;
            let original = matches!(entry.valid(), Some(Body::Settlement(_)));
            // What the payee wrote is confirmed by being written, so that a dispute of it is a taking back.
            let decision = self.decide(&entry.id, payee, payer, own && original, given);
            // Where one user speaks for both sides, the verdict just read is the consent as well.
            let consent = if payee == payer {
                decision == Some(Decision::Confirmed)
            } else {
                let mut statuses = Vec::new();
                let consent = self.decide(&entry.id, payer, payer, false, &mut statuses) == Some(Decision::Confirmed);
                given.extend(statuses);
                consent
            };
            let in_force = match decision {
                Some(Decision::Disputed) => false,
                Some(Decision::Confirmed) => true,
                None => (own && (original || consent || payee == payer)) || (!own && self.trusts()),
            };
            judged.push((State { entry, in_force: in_force && !is_void(entry), decision }, consent));
        }
        let firm: Vec<EventId> = judged.iter().filter(|j| j.0.in_force).map(|j| j.0.entry.id.clone()).collect();
        let mut states = Vec::new();
        for (mut state, consent) in judged {
            let change = !matches!(state.entry.valid(), Some(Body::Settlement(_)));
            let others = firm.iter().any(|id| *id != state.entry.id);
            if change && *state.entry.sender != *payer && !consent && others {
                let reason = "takes back what counts: waits for the payer's consent";
                given.push((state.entry.id.clone(), Status::Pending, Some(reason.to_owned())));
                continue;
            }
            // The payee's own change of what does not count yet needs nobody else.
            if change && !is_void(state.entry) && *state.entry.sender == *payee && state.decision.is_none() {
                state.in_force = true;
            }
            states.push(state);
        }
        states
    }

    /// What `judge` says about a version (or verdict): of the verdicts that no other replaces, a dispute goes first. A
    /// dispute that takes a confirmation back (`firm`: a confirmation that needed no verdict) waits for `payer`'s consent.
    fn decide(&self, id: &EventId, judge: &str, payer: &str, firm: bool, given: &mut Vec<Given>) -> Option<Decision> {
        let mut verdicts: Vec<(&EventId, Decision, &[EventId])> = Vec::new();
        for verdict in self.about.get(id).into_iter().flatten() {
            let Some(entry) = self.records.get(verdict).map(|r| &*r.entry) else {
                continue;
            };
            let Some(Body::Verdict(v)) = entry.valid() else {
                continue;
            };
            if *entry.sender == *judge && matches!(self.place(verdict), Place::Group(_)) {
                verdicts.push((&entry.id, v.verdict, &v.over));
            }
        }
        let confirmed: BTreeSet<&EventId> =
            verdicts.iter().filter(|v| v.1 == Decision::Confirmed).map(|v| v.0).collect();
        let mut open: Vec<(&EventId, Decision, &[EventId])> = Vec::new();
        for verdict in verdicts {
            let takes_back = verdict.1 == Decision::Disputed
                && judge != payer
                && (firm || verdict.2.iter().any(|o| confirmed.contains(o)));
            if takes_back && self.decide(verdict.0, payer, payer, false, given) != Some(Decision::Confirmed) {
                let reason = "takes a confirmation back: waits for the payer's consent";
                given.push((verdict.0.clone(), Status::Pending, Some(reason.to_owned())));
                continue;
            }
            open.push(verdict);
        }
        let replaced: BTreeSet<&EventId> = open.iter().flat_map(|v| v.2.iter().filter(|o| *o != v.0)).collect();
        let mut remaining: Vec<_> = open.iter().filter(|v| !replaced.contains(v.0)).collect();
        if remaining.is_empty() {
            remaining = open.iter().collect();
        }
        let decision = remaining.iter().map(|v| v.1).max_by_key(|d| *d == Decision::Disputed);
        for verdict in &open {
            let stands = remaining.iter().any(|r| r.0 == verdict.0);
            let (status, reason) = match (stands, decision == Some(verdict.1)) {
                (true, true) => (Status::Counts, None),
                (true, false) => (Status::Superseded, Some("disputed by the same person as well".to_owned())),
                (false, _) => (Status::Superseded, None),
            };
            given.push((verdict.0.clone(), status, reason));
        }
        decision
    }

    /// Verdicts that nothing asked for, such as a consent to what needs none, are noted.
    fn note_the_rest(&self, group: usize, versions: &[&Entry], given: &mut Vec<Given>) {
        let verdicts = |id: &EventId| self.about.get(id).into_iter().flatten().cloned().collect::<Vec<_>>();
        let known: BTreeSet<EventId> = given.iter().map(|g| g.0.clone()).collect();
        let first: Vec<EventId> = versions.iter().flat_map(|v| verdicts(&v.id)).collect();
        let second: Vec<EventId> = first.iter().flat_map(verdicts).collect();
        let all: BTreeSet<EventId> = first.into_iter().chain(second).collect();
        for id in all.into_iter().filter(|id| !known.contains(id)) {
            let verdict = self.records.get(&id).is_some_and(|r| matches!(r.entry.valid(), Some(Body::Verdict(_))));
            if verdict && self.place(&id) == Place::Group(group) {
                given.push((id, Status::Noted, None));
            }
        }
    }
}

/// An authorised version, and for a settlement what the payee says.
struct State<'a> {
    entry: &'a Entry,
    in_force: bool,
    decision: Option<Decision>,
}

impl State<'_> {
    fn status(&self) -> Status {
        match self.decision {
            _ if is_void(self.entry) || self.in_force => Status::Counts,
            Some(Decision::Disputed) => Status::Disputed,
            _ => Status::Pending,
        }
    }

    fn reason(&self) -> Option<String> {
        (self.status() == Status::Pending).then(|| "waits for the payee".to_owned())
    }
}

fn is_void(entry: &Entry) -> bool {
    matches!(entry.valid(), Some(Body::Void(_)))
}

/// Whether two versions state the same, so that one of them is no loss.
fn same_content(a: &Entry, b: &Entry) -> bool {
    let (Some(a), Some(b)) = (a.valid(), b.valid()) else {
        return false;
    };
    match (a, b) {
        (Body::Void(_), Body::Void(_)) => true,
        _ if a.expense().is_some() => a.expense() == b.expense(),
        _ if a.settlement().is_some() => a.settlement() == b.settlement(),
        _ => false,
    }
}

/// Which of several versions stands: a void; of a settlement then one in force, then the larger amount, so that nobody
/// takes a payment back by repeating its uid; then the author's own; then the bytewise smaller event id.
fn rank(state: &State<'_>, author: Option<&EventId>, settlement: bool) -> (bool, bool, Reverse<Amount>, bool, EventId) {
    let amount = match state.entry.valid().and_then(Body::settlement) {
        Some(s) if settlement => s.moves().1,
        _ => Amount::ZERO,
    };
    let foreign = author.is_none_or(|a| *a != state.entry.sender);
    (!is_void(state.entry), settlement && !state.in_force, Reverse(amount), foreign, state.entry.id.clone())
}
