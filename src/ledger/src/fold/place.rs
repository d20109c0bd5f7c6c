//! Where an entry belongs: to the group of versions of one expense or settlement, or nowhere, with a status of its own.

use super::{Ledger, Status};
use crate::entry::{Amend, Body, Edit, Entry, New, Settlement, SettlementPolicy};
use crate::ids::{EventId, speaker};

/// Where an entry belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A version, or a verdict, in the group with this number.
    Group(usize),
    /// Nothing else decides its status.
    Loose(Status, Option<String>),
}

fn loose(status: Status, reason: impl Into<String>) -> Place {
    Place::Loose(status, Some(reason.into()))
}

impl Ledger {
    /// Where the entry belongs. Looks at it and at what it is about, never at what is about it.
    pub(super) fn place(&self, id: &EventId) -> Place {
        let Some(record) = self.records.get(id) else {
            return loose(Status::Orphaned, "not here");
        };
        let entry = &*record.entry;
        if entry.redacted {
            return Place::Loose(Status::Redacted, None);
        }
        let body = match &entry.body {
            Ok(body) => body,
            Err(invalid) => return loose(Status::Invalid, invalid.to_string()),
        };
        match body {
            Body::Open(_) => Place::Loose(Status::Counts, None),
            Body::Participant(_) | Body::Recurrence(_) | Body::Checkpoint(_) => Place::Loose(Status::Noted, None),
            Body::Expense(_) | Body::Settlement(_) => match (self.bad_unit(body), record.group) {
                (Some(place), _) => place,
                (None, Some(group)) => Place::Group(group),
                (None, None) => loose(Status::Orphaned, "belongs to no entry"),
            },
            Body::Amend(_) | Body::Void(_) => self.place_change(entry, body),
            Body::Verdict(v) => self.place_verdict(entry, &v.target),
        }
    }

    /// Custom units must stand in the root as the entry writes them.
    fn bad_unit(&self, body: &Body) -> Option<Place> {
        let unknown =
            body.currencies().into_iter().find(|c| c.is_custom() && !self.rules().is_some_and(|o| o.knows(c)))?;
        Some(match self.rules() {
            None => loose(Status::Orphaned, format!("the root that would declare {unknown} is not here")),
            Some(_) => loose(
                Status::Invalid,
                format!("currency: the ledger declares no {unknown} with {} decimals", unknown.decimals()),
            ),
        })
    }

    /// Why the target of a change or verdict cannot be judged, or the target.
    fn resolve(&self, target: &EventId) -> Result<&Entry, Place> {
        let Some(record) = self.records.get(target) else {
            let reason = if self.foreign.contains_key(target) {
                "what it is about belongs to another ledger"
            } else {
                "what it is about is not here"
            };
            return Err(loose(Status::Orphaned, reason));
        };
        if record.entry.redacted {
            return Err(loose(Status::Orphaned, "what it is about was removed"));
        }
        if record.entry.body.is_err() {
            return Err(loose(Status::Orphaned, "what it is about is invalid"));
        }
        Ok(&record.entry)
    }

    fn place_change(&self, entry: &Entry, body: &Body) -> Place {
        let Some(id) = body.target() else {
            return loose(Status::Orphaned, "is about nothing");
        };
        let target = match self.resolve(id) {
            Ok(target) => target,
            Err(place) => return place,
        };
        // Looked at before its own place is, so that a chain of changes is never followed further than one step.
        if !matches!(target.valid(), Some(Body::Expense(_) | Body::Settlement(_))) {
            return loose(Status::Invalid, "target: must be the event that first stated an expense or settlement");
        }
        let Place::Group(group) = self.place(id) else {
            return loose(Status::Orphaned, "what it is about is invalid");
        };
        if let Body::Amend(amend) = body {
            if let Some(reason) = mismatch(amend, target) {
                return loose(Status::Invalid, reason);
            }
            if let Some(place) = self.bad_unit(body) {
                return place;
            }
        }
        match self.forbids(&entry.sender, matches!(body, Body::Void(_)), target) {
            Some(reason) => loose(Status::Unauthorised, reason),
            None => Place::Group(group),
        }
    }

    /// Why `sender` may not amend (or void) the entry that `target` first stated; `None` where they may.
    pub(super) fn forbids(&self, sender: &str, void: bool, target: &Entry) -> Option<&'static str> {
        if *sender == *target.sender {
            return None;
        }
        match target.valid() {
            Some(Body::Settlement(s)) if void && speaker(&s.from) == sender => None,
            Some(Body::Settlement(_)) => Some("only its author changes a settlement; its payer may also void it"),
            Some(Body::Expense(e)) => {
                let named = || e.paid.iter().chain(&e.owed).any(|l| *l.who == *sender);
                let edit = self.rules().map(|o| o.policies.edit).unwrap_or_default();
                if self.is_manager(sender) || (edit == Edit::Participants && named()) {
                    None
                } else if edit == Edit::Participants {
                    Some("only its author, whoever pays or owes in it, and managers change an expense here")
                } else {
                    Some("only its author and managers change an expense here")
                }
            }
            _ => Some("this cannot be changed"),
        }
    }

    fn place_verdict(&self, entry: &Entry, id: &EventId) -> Place {
        let target = match self.resolve(id) {
            Ok(target) => target,
            Err(place) => return place,
        };
        // A verdict may be about a version, or about a verdict on a version: the payer's consent. No deeper.
        let about_verdict = match target.valid() {
            Some(Body::Verdict(v)) => match self.resolve(&v.target).map(Entry::valid) {
                Ok(Some(Body::Verdict(_))) => {
                    return loose(Status::Invalid, "target: a consent needs no verdict of its own");
                }
                _ => true,
            },
            _ => false,
        };
        let group = match self.place(id) {
            Place::Group(group) => group,
            Place::Loose(status, _) if status.is_reject() => {
                return loose(Status::Orphaned, "what it is about does not count");
            }
            Place::Loose(..) => {
                return loose(Status::Invalid, "target: must be a version of a settlement");
            }
        };
        let Some(settlement) = self.group_settlement(group) else {
            return loose(Status::Invalid, "target: must be a version of a settlement");
        };
        let (payer, payee) = (speaker(&settlement.from), speaker(&settlement.to));
        let void = matches!(target.valid(), Some(Body::Void(_)));
        if *entry.sender == *payer && (about_verdict || void || matches!(target.valid(), Some(Body::Amend(_)))) {
            return Place::Group(group);
        }
        if *entry.sender == *payee && !about_verdict && !void {
            return Place::Group(group);
        }
        loose(Status::Unauthorised, "only the payee judges a settlement, and only its payer agrees to taking one back")
    }

    /// The settlement that a group first stated: who paid whom in which currency, the same in every version.
    pub(super) fn group_settlement(&self, group: usize) -> Option<&Settlement> {
        let original = self.groups.get(group)?.originals.first()?;
        match self.records.get(original)?.entry.valid()? {
            Body::Settlement(s) => Some(s),
            _ => None,
        }
    }

    /// Whether the ledger lists the user as a manager; where the root lists none, its sender is one.
    pub fn is_manager(&self, user: &str) -> bool {
        let Some(root) = self.root_entry() else {
            return false;
        };
        match root.valid() {
            Some(Body::Open(open)) => match &open.managers {
                Some(managers) => managers.iter().any(|m| **m == *user),
                None => *root.sender == *user,
            },
            _ => false,
        }
    }

    /// Whether settlements count before the payee says so.
    pub(super) fn trusts(&self) -> bool {
        self.rules().is_some_and(|o| o.policies.settlement == SettlementPolicy::Trust)
    }
}

/// What an amend may not change.
fn mismatch(amend: &Amend, target: &Entry) -> Option<&'static str> {
    match (&amend.new, target.valid()) {
        (New::Expense(new), Some(Body::Expense(old))) if new.uid != old.uid => Some("content.uid: is not the target's"),
        (New::Settlement(new), Some(Body::Settlement(old))) if new.uid != old.uid => {
            Some("content.uid: is not the target's")
        }
        (New::Settlement(new), Some(Body::Settlement(old))) if !new.same_parties(old) => {
            Some("content: from, to and the currencies of a settlement never change")
        }
        (New::Expense(_), Some(Body::Expense(_))) | (New::Settlement(_), Some(Body::Settlement(_))) => None,
        _ => Some("type: is not the target's"),
    }
}
