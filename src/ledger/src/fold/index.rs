//! Taking entries into the indexes, and out again when they are redacted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::group::Key;
use super::place::Place;
use super::{Group, Ledger, Record, Status, Touched};
use crate::entry::{Entry, OPEN};
use crate::ids::EventId;

impl Ledger {
    /// Takes an event in: new, known already, or the redacted copy of one that is known.
    pub(super) fn admit(&mut self, entry: Entry, touched: &mut Touched) {
        let entry = if self.parked.contains(&entry.id) { entry.redacted() } else { entry };
        if let Some(known) = self.records.get(&entry.id) {
            if entry.redacted && !known.entry.redacted {
                self.strip(&entry.id, touched);
                if let Some(record) = self.records.get_mut(&entry.id) {
                    touched.ids.insert(entry.id.clone());
                    record.entry = Arc::new(entry);
                }
            }
            return;
        }
        let root = entry.id == self.open;
        let elsewhere = match (&entry.open, entry.kind == OPEN) {
            (_, true) => !root,
            (Some(open), false) => *open != self.open,
            (None, false) => false,
        };
        // A redacted event no longer says where it belonged: it is shown in every ledger of its room.
        if elsewhere && !entry.redacted {
            self.missing.remove(&entry.id);
            // What is about it is judged anew: it is not missing, it is another ledger's.
            touched.ids.insert(entry.id.clone());
            self.foreign.entry(entry.id.clone()).or_insert_with(|| Arc::new(entry));
            return;
        }
        self.foreign.remove(&entry.id);
        self.missing.remove(&entry.id);
        touched.ids.insert(entry.id.clone());
        let entry = Arc::new(entry);
        let group = self.index(&entry, touched);
        let record = Record { entry: entry.clone(), status: Status::Noted, reason: None, group, judged: false };
        self.records.insert(entry.id.clone(), record);
    }

    /// Enters a new entry in the indexes.
    fn index(&mut self, entry: &Arc<Entry>, touched: &mut Touched) -> Option<usize> {
        let body = entry.valid()?;
        for cited in cites(entry) {
            self.cited.entry(cited.clone()).or_default().insert(entry.id.clone());
            self.heads.remove(cited);
            if self.records.get(cited).is_some_and(|cited| cited.entry.sender != entry.sender) {
                self.unvouched.remove(cited);
            }
            if !self.records.contains_key(cited) && !self.foreign.contains_key(cited) {
                self.missing.insert(cited.clone());
            }
        }
        if !self.cited.contains_key(&entry.id) {
            self.heads.insert(entry.id.clone());
        }
        if !self.is_vouched(entry) {
            self.unvouched.insert(entry.id.clone());
        }
        *self.writers.entry(entry.sender.clone()).or_default() += 1;
        if let Some(target) = body.target() {
            self.about.entry(target.clone()).or_default().insert(entry.id.clone());
        }
        if let Some(answers) = body.settlement().and_then(|s| s.answers.as_ref()) {
            self.answered.entry(answers.clone()).or_default().insert(entry.id.clone());
        }
        touched.everything |= entry.id == self.open;
        let key = Key::of(entry)?;
        let next = self.groups.len();
        let number = *self.keys.entry(key).or_insert(next);
        if number == next {
            self.groups.push(Group { author: Some(entry.sender.clone()), ..Group::default() });
        }
        if let Some(group) = self.groups.get_mut(number) {
            group.originals.insert(entry.id.clone());
        }
        Some(number)
    }

    /// Whether an entry of another sender cites it.
    fn is_vouched(&self, entry: &Entry) -> bool {
        let by = self.cited.get(&entry.id).into_iter().flatten();
        by.filter_map(|id| self.records.get(id)).any(|by| by.entry.sender != entry.sender)
    }

    /// Takes an entry out of the indexes again, because it was redacted.
    fn strip(&mut self, id: &EventId, touched: &mut Touched) {
        let Some(record) = self.records.get(id) else {
            return;
        };
        let (entry, group) = (record.entry.clone(), record.group);
        touched.groups.extend(group);
        touched.groups.extend(self.group_of(id));
        if let Place::Group(group) = self.place(id) {
            touched.groups.insert(group);
        }
        let Some(body) = entry.valid() else { return };
        self.unvouched.remove(id);
        for cited in cites(&entry) {
            if drop_from(&mut self.cited, cited, id) {
                self.missing.remove(cited);
                if self.records.get(cited).is_some_and(|r| r.entry.body.is_ok()) {
                    self.heads.insert(cited.clone());
                }
            }
            let left = self.records.get(cited).map(|cited| Arc::clone(&cited.entry));
            if left.is_some_and(|left| left.body.is_ok() && !self.is_vouched(&left)) {
                self.unvouched.insert(cited.clone());
            }
        }
        self.heads.remove(id);
        if let Some(count) = self.writers.get_mut(&entry.sender) {
            *count -= 1;
            if *count == 0 {
                self.writers.remove(&entry.sender);
            }
        }
        if let Some(target) = body.target() {
            drop_from(&mut self.about, target, id);
            touched.ids.insert(target.clone());
        }
        if let Some(answers) = body.settlement().and_then(|s| s.answers.as_ref()) {
            drop_from(&mut self.answered, answers, id);
            touched.ids.insert(answers.clone());
        }
        if let Some(group) = group.and_then(|g| self.groups.get_mut(g)) {
            group.originals.remove(id);
        }
        if let Some(record) = self.records.get_mut(id) {
            record.group = None;
        }
        touched.everything |= *id == self.open;
    }
}

/// The events that an entry shows its author knew.
pub(super) fn cites(entry: &Entry) -> BTreeSet<&EventId> {
    let Some(body) = entry.valid() else {
        return BTreeSet::new();
    };
    let answers = body.settlement().and_then(|s| s.answers.as_ref());
    entry.prev.iter().chain(body.target()).chain(body.over()).chain(answers).filter(|id| **id != entry.id).collect()
}

/// Removes `id` from the set at `key`; true if that was the last.
fn drop_from(index: &mut HashMap<EventId, BTreeSet<EventId>>, key: &EventId, id: &EventId) -> bool {
    let Some(set) = index.get_mut(key) else {
        return false;
    };
    set.remove(id);
    let empty = set.is_empty();
    if empty {
        index.remove(key);
    }
    empty
}
