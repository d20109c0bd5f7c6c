//! Reading a ledger: views, lists and the digest.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::{Balance, Book, Conflict, Ledger, Missing, Reject, Status, VerdictView, View};
use crate::entry::{Body, Entry, MAX_OVER, MAX_PREV, Open};
use crate::ids::EventId;
use crate::money::Currency;
use crate::plan::{self, Plans};

impl Ledger {
    /// The ledger's id: the event id of its root.
    pub fn id(&self) -> &EventId {
        &self.open
    }

    /// What the root says; `None` while it is not here, or invalid, or redacted.
    pub fn root(&self) -> Option<&Open> {
        self.rules()
    }

    /// Number of entries of this ledger, of whatever status.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// An entry's event as given, also of another ledger in the room.
    pub fn entry(&self, event_id: &str) -> Option<&Entry> {
        self.records.get(event_id).map(|r| &*r.entry).or_else(|| self.foreign.get(event_id).map(|e| &**e))
    }

    /// What an entry is worth. `None` if it is not an entry of this ledger.
    pub fn status(&self, event_id: &str) -> Option<Status> {
        self.records.get(event_id).map(|r| r.status)
    }

    /// One entry as the fold sees it.
    pub fn view(&self, event_id: &str) -> Option<View<'_>> {
        let record = self.records.get(event_id)?;
        let entry = &*record.entry;
        let outcome = self.group_of(&entry.id).and_then(|g| self.groups.get(g)).map(|g| &g.outcome);
        let verdicts = self.about.get(&entry.id).into_iter().flatten().filter_map(|id| {
            let record = self.records.get(id)?;
            let Body::Verdict(v) = record.entry.valid()? else {
                return None;
            };
            Some(VerdictView {
                event_id: id.clone(),
                sender: record.entry.sender.clone(),
                verdict: v.verdict,
                reason: v.reason.clone(),
                status: record.status,
            })
        });
        Some(View {
            entry,
            status: record.status,
            reason: record.reason.as_deref(),
            verdicts: verdicts.collect(),
            voided_by: outcome.filter(|o| o.void).and_then(|o| o.winner.clone()).filter(|id| *id != entry.id),
            current: outcome.and_then(|o| o.winner.clone()),
            warnings: entry.valid().and_then(Body::expense).map(|e| e.warnings()).unwrap_or_default(),
        })
    }

    /// All entries of this ledger, bytewise by event id.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        self.records.keys().filter_map(|id| self.view(id))
    }

    /// Every balance that is not zero, by currency, then by person.
    pub fn balances(&self) -> Vec<Balance> {
        let books = self.sums.books.iter();
        books
            .flat_map(|(currency, book)| {
                book.balances.iter().map(|(who, amount)| Balance {
                    who: who.clone(),
                    currency: currency.clone(),
                    amount: *amount,
                })
            })
            .collect()
    }

    /// The sums of every currency.
    pub(crate) fn books(&self) -> impl Iterator<Item = (&Currency, &Book)> {
        self.sums.books.iter()
    }

    /// One person's balances that are not zero.
    pub fn net(&self, who: &str) -> Vec<Balance> {
        let books = self.sums.books.iter();
        books
            .filter_map(|(currency, book)| {
                let (who, amount) = book.balances.get_key_value(who)?;
                Some(Balance { who: who.clone(), currency: currency.clone(), amount: *amount })
            })
            .collect()
    }

    /// The valid entries that no other cites, bytewise sorted.
    pub fn heads(&self) -> Vec<EventId> {
        self.heads.iter().cloned().collect()
    }

    /// At most 20 events for the `prev` of an author's new entry: the latest heads as their senders claim, the root where there is
    /// none; then the latest entries of others that nobody but their senders has cited yet. So every entry is soon cited by
    /// somebody else, by which a server that soft-failed it learns that it counts.
    pub fn prev(&self, author: &str) -> Vec<EventId> {
        let heads = self.heads.iter().filter_map(|id| self.entry(id));
        let mut prev = latest(heads.collect(), MAX_PREV);
        if prev.is_empty() {
            prev.push(self.open.clone());
        }
        let others = self.unvouched.iter().filter(|id| !prev.contains(id)).filter_map(|id| self.entry(id));
        let others = others.filter(|entry| &*entry.sender != author).collect();
        prev.extend(latest(others, MAX_PREV - prev.len()));
        prev
    }

    /// The events that are cited but not here; the root first where it is missing.
    pub fn missing(&self) -> Vec<Missing> {
        let root = (!self.records.contains_key(&self.open)).then_some(&self.open);
        let others = self.missing.iter().filter(|id| **id != self.open);
        let cited_by = |id: &EventId| self.cited.get(id).into_iter().flatten().cloned().collect();
        root.into_iter().chain(others).map(|id| Missing { event_id: id.clone(), cited_by: cited_by(id) }).collect()
    }

    /// The entries with versions that nobody weighed against each other.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let groups = self.conflicts.iter().filter_map(|g| self.groups.get(*g));
        let mut conflicts: Vec<Conflict> = groups
            .filter_map(|group| {
                let target = group.originals.first()?.clone();
                let versions = group.outcome.winner.iter().chain(&group.outcome.losers).cloned().collect();
                Some(Conflict { target, versions })
            })
            .collect();
        conflicts.sort_by(|a, b| a.target.cmp(&b.target));
        conflicts
    }

    /// The entries that say something but do not count, bytewise by event id.
    pub fn rejects(&self) -> Vec<Reject> {
        let records = self.rejects.iter().filter_map(|id| self.records.get(id));
        records
            .map(|record| Reject {
                event_id: record.entry.id.clone(),
                sender: record.entry.sender.clone(),
                kind: record.entry.kind.clone(),
                status: record.status,
                reason: record.reason.clone().unwrap_or_default(),
            })
            .collect()
    }

    /// The settlements that wait for their payee, by the version that stands, bytewise sorted.
    pub fn pending(&self) -> Vec<EventId> {
        let winners = self.pending.iter().filter_map(|g| self.groups.get(*g)?.outcome.winner.clone());
        winners.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether the user sent a valid entry here.
    pub fn wrote(&self, user: &str) -> bool {
        self.writers.contains_key(user)
    }

    /// Why `sender` may not amend (or void) an entry; `None` where they may. `target` is the event that first stated it.
    pub fn may_not_change(&self, sender: &str, void: bool, target: &str) -> Option<&'static str> {
        match self.records.get(target) {
            Some(record) => self.forbids(sender, void, &record.entry),
            None => Some("this entry is not here"),
        }
    }

    /// What a new version of the entry lists in `over`: its authorised versions, at most 64, the ones that nobody
    /// replaced first. `event_id` is any version of it.
    pub fn over(&self, event_id: &str) -> Vec<EventId> {
        let group = self.records.get(event_id).and_then(|r| self.group_of(&r.entry.id));
        let versions =
            group.and_then(|g| self.groups.get(g)).map(|g| g.outcome.versions.as_slice()).unwrap_or_default();
        versions.iter().take(MAX_OVER).cloned().collect()
    }

    /// What a new verdict by `sender` on a version lists in `over`: the sender's own earlier ones, at most 64.
    pub fn over_verdicts(&self, event_id: &str, sender: &str) -> Vec<EventId> {
        let verdicts = self.view(event_id).map(|v| v.verdicts).unwrap_or_default();
        let own = verdicts.into_iter().filter(|v| *v.sender == *sender && v.status != Status::Superseded);
        own.take(MAX_OVER).map(|v| v.event_id).collect()
    }

    /// The event that first stated the entry which `event_id` is a version of (bytewise first of its author's repeats).
    pub fn original(&self, event_id: &str) -> Option<&Entry> {
        let record = self.records.get(event_id)?;
        if record.group.is_some() {
            return Some(&record.entry);
        }
        match record.entry.valid()? {
            Body::Verdict(_) => None,
            body => self.records.get(body.target()?).filter(|r| r.group.is_some()).map(|r| &*r.entry),
        }
    }

    /// The three views of who owes whom, after the settlements that wait for their payee.
    pub fn plans(&self) -> Plans {
        plan::plans(self)
    }

    /// SHA-256 in lower-case hexadecimal over the lines
    ///
    /// ```text
    /// com.cliquepay.ledger 1 <root>
    /// e <event id> <status>              every entry that is not redacted, bytewise sorted by event id
    /// b <currency> <person> <amount>     every balance that is not zero, bytewise sorted by currency, then person
    /// ```
    ///
    /// each ending in a line feed. Computed on first use after a change; equal digests mean equal ledgers.
    pub fn digest(&self) -> String {
        self.digest.get_or_init(|| self.compute_digest()).clone()
    }

    fn compute_digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut line = |parts: &[&str]| {
            hash.update(parts.join(" ").as_bytes());
            hash.update(b"\n");
        };
        line(&["com.cliquepay.ledger", "1", &self.open]);
        for (id, record) in self.records.iter().filter(|(_, r)| !r.entry.redacted) {
            line(&["e", id, record.status.name()]);
        }
        for balance in self.balances() {
            line(&["b", balance.currency.code(), &balance.who, &balance.currency.format(balance.amount)]);
        }
        crate::hex(&hash.finalize())
    }
}

/// The ids of the latest of some entries, as their senders claim, the latest first.
fn latest(mut entries: Vec<&Entry>, count: usize) -> Vec<EventId> {
    let newer = |a: &&Entry, b: &&Entry| b.ts.cmp(&a.ts).then_with(|| a.id.cmp(&b.id));
    if entries.len() > count {
        // Of many, a few are wanted.
        entries.select_nth_unstable_by(count, newer);
        entries.truncate(count);
    }
    entries.sort_by(newer);
    entries.into_iter().map(|entry| entry.id.clone()).collect()
}
