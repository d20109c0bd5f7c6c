//! The fold: from a set of entries to balances (`spec/ledger.md`, "The fold").
//!
//! [`Ledger`] holds the entries of one ledger and what they come to. It does not depend on the order in which entries
//! arrive, nor on repeats, and inserting one re-evaluates only the versions and verdicts of the entry that it touches.

mod group;
mod index;
mod link;
mod place;
mod status;
mod sums;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

pub use status::{Balance, Conflict, Missing, Reject, Status, VerdictView, View};
pub use sums::Flow;
pub(crate) use sums::{Book, Sums, flows};

use crate::entry::{Body, Entry, Open};
use crate::ids::{EventId, Person};
use group::{Key, Outcome};
use place::Place;

/// An entry and what it is worth.
#[derive(Debug, Clone)]
struct Record {
    entry: Arc<Entry>,
    status: Status,
    reason: Option<String>,
    /// The group that an expense or settlement founds, with its author's repeats.
    group: Option<usize>,
    /// Whether a status was given yet.
    judged: bool,
}

/// All that (author, uid) names: originals here; changes and verdicts are found through `about`.
#[derive(Debug, Clone, Default)]
struct Group {
    author: Option<Person>,
    originals: BTreeSet<EventId>,
    outcome: Outcome,
    /// The version whose amounts stand in the sums now.
    applied: Option<Arc<Entry>>,
    pending: bool,
}

/// One ledger: its entries, and what they come to.
///
/// A clone shares the entries themselves; it costs a walk over their index.
#[derive(Debug, Clone)]
pub struct Ledger {
    open: EventId,
    records: BTreeMap<EventId, Record>,
    /// Entries of other ledgers in the same room: known, so not missing, and otherwise ignored.
    foreign: BTreeMap<EventId, Arc<Entry>>,
    /// Redactions that came before what they redact.
    parked: BTreeSet<EventId>,
    keys: HashMap<Key, usize>,
    groups: Vec<Group>,
    /// Changes and verdicts by what they are about.
    about: HashMap<EventId, BTreeSet<EventId>>,
    /// Settlements by what they answer.
    answered: HashMap<EventId, BTreeSet<EventId>>,
    /// Entries by what they cite.
    cited: HashMap<EventId, BTreeSet<EventId>>,
    missing: BTreeSet<EventId>,
    heads: BTreeSet<EventId>,
    /// Valid entries that nobody but their own senders cites.
    unvouched: BTreeSet<EventId>,
    rejects: BTreeSet<EventId>,
    pending: BTreeSet<usize>,
    conflicts: BTreeSet<usize>,
    writers: BTreeMap<Person, usize>,
    /// The root whose opening balances stand in the sums now.
    opened: Option<Arc<Entry>>,
    sums: Sums,
    digest: OnceLock<String>,
}

/// What a batch of changes touches.
#[derive(Debug, Default)]
struct Touched {
    ids: BTreeSet<EventId>,
    groups: BTreeSet<usize>,
    everything: bool,
}

impl Ledger {
    /// An empty ledger whose root is the event `open`.
    pub fn new(open: &str) -> Self {
        Self {
            open: open.into(),
            records: BTreeMap::new(),
            foreign: BTreeMap::new(),
            parked: BTreeSet::new(),
            keys: HashMap::new(),
            groups: Vec::new(),
            about: HashMap::new(),
            answered: HashMap::new(),
            cited: HashMap::new(),
            missing: BTreeSet::new(),
            heads: BTreeSet::new(),
            unvouched: BTreeSet::new(),
            rejects: BTreeSet::new(),
            pending: BTreeSet::new(),
            conflicts: BTreeSet::new(),
            writers: BTreeMap::new(),
            opened: None,
            sums: Sums::default(),
            digest: OnceLock::new(),
        }
    }

    /// The fold of a set of entries, in any order and with any repeats.
    pub fn fold(open: &str, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut ledger = Self::new(open);
        ledger.extend(entries);
        ledger
    }

    /// Adds one entry. Returns the entries whose status is new or changed, bytewise sorted; itself among them unless it
    /// was here already or belongs to another ledger.
    pub fn insert(&mut self, entry: Entry) -> Vec<EventId> {
        self.extend([entry])
    }

    /// Adds many entries at once, which is cheaper than one by one. Returns as [`Ledger::insert`] does.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = Entry>) -> Vec<EventId> {
        let mut touched = Touched::default();
        for entry in entries {
            self.admit(entry, &mut touched);
        }
        self.settle(touched)
    }

    /// What status an entry would have if it came now. The ledger stays as it is; only what the entry is about is looked
    /// at again.
    pub fn judge(&self, entry: Entry) -> Status {
        let id = entry.id.clone();
        if let Some(record) = self.records.get(&id) {
            return record.status;
        }
        let mut part = Self::new(&self.open);
        let root = self.records.get(&self.open).map(|r| &*r.entry);
        let body = entry.valid();
        let answers = body.and_then(Body::settlement).and_then(|s| s.answers.as_ref());
        let near = body
            .into_iter()
            .flat_map(|b| b.target().into_iter().chain(b.over()))
            .chain(answers)
            // What waits for the entry itself is judged with it.
            .chain([&id])
            .cloned();
        let mut all = self.dependents(near.chain(self.repeats(&entry)).collect());
        // From a verdict to its version, from a version to the entry that it is of, and to that entry's repeats.
        for _ in 0..3 {
            let records = || all.iter().filter_map(|id| self.records.get(id));
            let targets = records().filter_map(|r| r.entry.valid()?.target().cloned());
            let originals =
                records().filter_map(|r| self.groups.get(r.group?)).flat_map(|g| g.originals.iter().cloned());
            let mut more = self.dependents(targets.chain(originals).collect());
            all.append(&mut more);
        }
        let entries = all.iter().filter_map(|id| self.records.get(id)).map(|r| &*r.entry).chain(root).cloned();
        part.extend(entries.collect::<Vec<_>>());
        part.extend([entry]);
        part.status(&id).unwrap_or(Status::Orphaned)
    }

    /// The events that already state an expense or settlement with the entry's author and uid.
    pub fn repeats(&self, entry: &Entry) -> Vec<EventId> {
        let group = Key::of(entry).and_then(|k| self.keys.get(&k)).and_then(|g| self.groups.get(*g));
        group.into_iter().flat_map(|g| g.originals.iter().filter(|id| **id != entry.id)).cloned().collect()
    }

    /// Marks an event as redacted and forgets what it said. One that is not here yet will be redacted when it comes.
    /// Returns as [`Ledger::insert`] does.
    pub fn redact(&mut self, event_id: &str) -> Vec<EventId> {
        let mut touched = Touched::default();
        let known = self.records.get(event_id).map(|r| &r.entry).or_else(|| self.foreign.get(event_id));
        match known.map(|entry| entry.redacted()) {
            Some(entry) => self.admit(entry, &mut touched),
            None => {
                self.parked.insert(event_id.into());
            }
        }
        self.settle(touched)
    }

    /// Judges what was touched, and brings the sums up to date.
    fn settle(&mut self, touched: Touched) -> Vec<EventId> {
        self.digest = OnceLock::new();
        let ids: BTreeSet<EventId> = if touched.everything {
            self.renew_root();
            self.records.keys().cloned().collect()
        } else {
            self.dependents(touched.ids)
        };
        let mut groups = touched.groups;
        let mut changed = BTreeSet::new();
        for id in ids.iter().filter(|id| self.records.contains_key(*id)).cloned().collect::<Vec<_>>() {
            match self.place(&id) {
                Place::Group(group) => {
                    groups.insert(group);
                }
                Place::Loose(status, reason) => self.give(id, status, reason, &mut changed),
            }
        }
        for group in &groups {
            let outcome = self.evaluate(*group);
            if let Some(group) = self.groups.get_mut(*group) {
                group.outcome = outcome;
            }
        }
        for group in self.linked(&groups) {
            self.finish(group, &mut changed);
        }
        changed.into_iter().collect()
    }

    /// The ids given and all that is about them or answers them, however far removed.
    fn dependents(&self, ids: BTreeSet<EventId>) -> BTreeSet<EventId> {
        let mut queue: Vec<EventId> = ids.iter().cloned().collect();
        let mut found = ids;
        while let Some(id) = queue.pop() {
            let answers = self.records.get(&id).and_then(|r| r.entry.valid()?.settlement()?.answers.as_ref());
            for next in self.about.get(&id).into_iter().chain(self.answered.get(&id)).flatten().chain(answers) {
                if found.insert(next.clone()) {
                    queue.push(next.clone());
                }
            }
        }
        found
    }

    /// Gives a group's versions and verdicts their statuses and moves the sums from what it was to what it is.
    fn finish(&mut self, number: usize, changed: &mut BTreeSet<EventId>) {
        let absorbed = self.absorbed_by(number);
        let Some(group) = self.groups.get(number) else {
            return;
        };
        let outcome = &group.outcome;
        let winner = outcome.winner.as_ref().and_then(|id| self.records.get(id)).map(|r| r.entry.clone());
        let conflict = !outcome.losers.is_empty();
        let given = outcome.given.clone();
        let new = winner.clone().filter(|_| outcome.in_force && absorbed.is_none());
        let mut pending = false;
        for (id, status, reason) in given {
            let (status, reason) = match (&absorbed, &winner) {
                (Some(by), Some(winner)) if winner.id == id => {
                    (Status::Superseded, Some(format!("records the same payment as {by}")))
                }
                _ => (status, reason),
            };
            pending |= status == Status::Pending && winner.as_ref().is_some_and(|w| w.id == id);
            self.give(id, status, reason, changed);
        }
        let old = self.groups.get_mut(number).and_then(|group| {
            group.pending = pending;
            std::mem::replace(&mut group.applied, new.clone())
        });
        if old.as_ref().map(|e| &e.id) != new.as_ref().map(|e| &e.id) {
            old.iter().for_each(|entry| self.sums.remove(entry));
            new.iter().for_each(|entry| self.sums.add(entry));
        }
        set_member(&mut self.pending, number, pending);
        set_member(&mut self.conflicts, number, conflict);
    }

    fn give(&mut self, id: EventId, status: Status, reason: Option<String>, changed: &mut BTreeSet<EventId>) {
        let Some(record) = self.records.get_mut(&id) else {
            return;
        };
        if !record.judged || record.status != status || record.reason != reason {
            record.judged = true;
            record.status = status;
            record.reason = reason;
            changed.insert(id.clone());
        }
        if status.is_reject() {
            self.rejects.insert(id);
        } else {
            self.rejects.remove(&id);
        }
    }

    /// Brings the opening balances up to date with the root.
    fn renew_root(&mut self) {
        let root = self.records.get(&self.open).map(|r| r.entry.clone()).filter(|e| e.body.is_ok());
        if let Some(old) = self.opened.take() {
            self.sums.remove(&old);
        }
        if let Some(root) = root {
            self.sums.add(&root);
            self.opened = Some(root);
        }
    }

    /// The root's event, if it is here, valid and not redacted.
    pub fn root_entry(&self) -> Option<&Entry> {
        self.records.get(&self.open).map(|r| &*r.entry).filter(|e| matches!(e.valid(), Some(Body::Open(_))))
    }

    /// What the root says, which never changes within a ledger.
    fn rules(&self) -> Option<&Open> {
        match self.root_entry()?.valid() {
            Some(Body::Open(open)) => Some(open),
            _ => None,
        }
    }
}

fn set_member(set: &mut BTreeSet<usize>, number: usize, member: bool) {
    if member {
        set.insert(number);
    } else {
        set.remove(&number);
    }
}

#[cfg(test)]
mod tests;
