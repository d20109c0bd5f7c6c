//! Entries: the typed form of an event's content, and every reason why it is invalid (`spec/ledger.md`, "Entries").
//!
//! Parsing never fails: an invalid entry stays in the room and is listed with its reason, so it is an [`Entry`] too.
//! Whether an entry is valid depends on its own content alone.

mod change;
mod expense;
mod open;
mod other;
mod read;
mod settlement;

use serde_json::Value;

pub use change::{Amend, New, Void};
pub use expense::{Expense, Fx, Line};
pub(crate) use expense::{read_items, read_split};
pub use open::{Continues, Debt, Edit, Open, Policies, Reach, SettlementPolicy, Unit, VERSION};
pub use other::{Checkpoint, Participant, Recurrence, recurrence_uid};
pub use read::{Invalid, is_date};
pub(crate) use read::{Obj, Read, canonical_len, join};
pub use settlement::{Decision, Settlement, Verdict};

use crate::ids::{EventId, Person, is_event_id};
use crate::money::{Amount, Currency};

/// What the types of all entries begin with.
pub const PREFIX: &str = "com.cliquepay.";
/// The root of a ledger.
pub const OPEN: &str = "com.cliquepay.open";
/// Money spent for others, or a refund or income where negative.
pub const EXPENSE: &str = "com.cliquepay.expense";
/// A payment from one person to another.
pub const SETTLEMENT: &str = "com.cliquepay.settlement";
/// New content for an expense or settlement.
pub const AMEND: &str = "com.cliquepay.amend";
/// Takes an expense or settlement back.
pub const VOID: &str = "com.cliquepay.void";
/// The payee's word on a settlement.
pub const VERDICT: &str = "com.cliquepay.verdict";
/// A person without an account, a claim to be one, or the approval of a claim.
pub const PARTICIPANT: &str = "com.cliquepay.participant";
/// A repeating expense. Not part of the fold.
pub const RECURRENCE: &str = "com.cliquepay.recurrence";
/// What somebody vouches that the fold gave. Not part of the fold.
pub const CHECKPOINT: &str = "com.cliquepay.checkpoint";
/// State events of this project, which are not entries.
const STATE: [&str; 2] = ["com.cliquepay.ledger", "com.cliquepay.payto"];

/// Largest content, in bytes of canonical JSON.
pub const MAX_CONTENT: usize = 40 * 1024;
/// Most people on one entry.
pub const MAX_PEOPLE: usize = 200;
/// Most versions in `over`.
pub const MAX_OVER: usize = 64;
/// Most heads in `prev`.
pub const MAX_PREV: usize = 20;
/// Longest title, name or reference, in characters.
pub const MAX_LINE: usize = 200;
/// Longest note or reason, in characters.
pub const MAX_TEXT: usize = 4000;

/// Whether events of this type are entries: it begins with `com.cliquepay.` and is not one of the two state events.
pub fn is_entry_type(kind: &str) -> bool {
    kind.starts_with(PREFIX) && !STATE.contains(&kind)
}

/// What is known of an event beside its content. In an encrypted room: of the decrypted event.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The event's id.
    pub event_id: &'a str,
    /// The event's sender, verified by whoever calls.
    pub sender: &'a str,
    /// The event's type.
    pub kind: &'a str,
    /// Milliseconds since the epoch as the sender claims; for showing only, it decides nothing.
    pub origin_server_ts: u64,
    /// Whether the event was redacted; its content is then not looked at.
    pub redacted: bool,
}

/// An event of the ledger, valid or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The event's id.
    pub id: EventId,
    /// The event's sender.
    pub sender: Person,
    /// The event's type.
    pub kind: String,
    /// Milliseconds since the epoch, for showing only.
    pub ts: u64,
    /// Whether the event was redacted. Nothing of its content is kept then.
    pub redacted: bool,
    /// The ledger that it belongs to, by the event id of its root. `None` on the root itself, and where the content
    /// names none.
    pub open: Option<EventId>,
    /// The heads that its author had seen.
    pub prev: Vec<EventId>,
    /// What it says, or why it says nothing.
    pub body: Result<Body, Invalid>,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Body {
    Open(Open),
    Expense(Expense),
    Settlement(Settlement),
    Amend(Amend),
    Void(Void),
    Verdict(Verdict),
    Participant(Participant),
    Recurrence(Recurrence),
    Checkpoint(Checkpoint),
}

impl Body {
    /// Reads the content of an entry of type `kind`, its envelope (`open`, `prev`) aside.
    pub fn parse(kind: &str, content: &Value) -> Result<Body, Invalid> {
        let obj = Obj::new(content, "")?;
        Ok(match kind {
            OPEN => Body::Open(Open::read(&obj)?),
            EXPENSE => Body::Expense(Expense::read(&obj)?),
            SETTLEMENT => Body::Settlement(Settlement::read(&obj)?),
            AMEND => Body::Amend(Amend::read(&obj)?),
            VOID => Body::Void(Void::read(&obj)?),
            VERDICT => Body::Verdict(Verdict::read(&obj)?),
            PARTICIPANT => Body::Participant(Participant::read(&obj)?),
            RECURRENCE => Body::Recurrence(Recurrence::read(&obj)?),
            CHECKPOINT => Body::Checkpoint(Checkpoint::read(&obj)?),
            _ => return Err(Invalid::new("type", "is not a known type of entry")),
        })
    }

    /// The entry that it is about, where it is about one.
    pub fn target(&self) -> Option<&EventId> {
        match self {
            Body::Amend(a) => Some(&a.target),
            Body::Void(v) => Some(&v.target),
            Body::Verdict(v) => Some(&v.target),
            _ => None,
        }
    }

    /// The versions or verdicts that it replaces.
    pub fn over(&self) -> &[EventId] {
        match self {
            Body::Amend(a) => &a.over,
            Body::Void(v) => &v.over,
            Body::Verdict(v) => &v.over,
            _ => &[],
        }
    }

    /// The expense that it states: its own, or the new content of an amend.
    pub fn expense(&self) -> Option<&Expense> {
        match self {
            Body::Expense(e) => Some(e),
            Body::Amend(Amend { new: New::Expense(e), .. }) => Some(e),
            _ => None,
        }
    }

    /// The settlement that it states: its own, or the new content of an amend.
    pub fn settlement(&self) -> Option<&Settlement> {
        match self {
            Body::Settlement(s) => Some(s),
            Body::Amend(Amend { new: New::Settlement(s), .. }) => Some(s),
            _ => None,
        }
    }

    /// The currencies whose amounts move balances or are shown with them.
    pub fn currencies(&self) -> Vec<&Currency> {
        match (self.expense(), self.settlement(), self) {
            (Some(e), _, _) => vec![&e.currency],
            (_, Some(s), _) => std::iter::once(&s.currency).chain(s.clears.as_ref().map(|c| &c.0)).collect(),
            (_, _, Body::Open(o)) => o.continues.iter().flat_map(|c| c.balances.iter().map(|d| &d.currency)).collect(),
            _ => Vec::new(),
        }
    }
}

impl Entry {
    /// Reads an entry. Never fails: what is wrong with it stands in `body`.
    pub fn parse(source: &Source<'_>, content: &Value) -> Entry {
        let mut entry = Entry {
            id: source.event_id.into(),
            sender: source.sender.into(),
            kind: source.kind.to_owned(),
            ts: source.origin_server_ts,
            redacted: source.redacted,
            open: None,
            prev: Vec::new(),
            body: Err(Invalid::new("", "removed")),
        };
        // Nothing is left of what it said, whether or not this reader knows of the redaction.
        entry.redacted |= content.as_object().is_some_and(serde_json::Map::is_empty);
        if entry.redacted {
            return entry;
        }
        if entry.kind != OPEN {
            // Read first and leniently, so that an entry that is invalid elsewhere is still listed in its own ledger only.
            entry.open = content.get("open").and_then(Value::as_str).filter(|id| is_event_id(id)).map(Into::into);
        }
        entry.body = canonical_len(content).and_then(|len| {
            if len > MAX_CONTENT {
                return Err(Invalid::new("", format!("is larger than {MAX_CONTENT} bytes of canonical JSON")));
            }
            let envelope = Obj::new(content, "")?;
            if entry.kind != OPEN {
                envelope.event_id("open")?;
            }
            entry.prev = envelope.event_ids("prev", MAX_PREV)?;
            Body::parse(&entry.kind, content)
        });
        if entry.body.is_err() {
            // An entry that counts for nothing also vouches for nothing.
            entry.prev = Vec::new();
        }
        entry
    }

    /// Reads an entry whose content is still text. Text that is not JSON makes an invalid entry.
    pub fn parse_json(source: &Source<'_>, content: &str) -> Entry {
        match serde_json::from_str::<Value>(content) {
            Ok(value) => Self::parse(source, &value),
            Err(_) => {
                let mut entry = Self::parse(source, &Value::Null);
                if !entry.redacted {
                    entry.body = Err(Invalid::new("", "is not JSON"));
                }
                entry
            }
        }
    }

    /// The same entry after its redaction: nothing but who, when and what type.
    pub fn redacted(&self) -> Entry {
        let source = Source {
            event_id: &self.id,
            sender: &self.sender,
            kind: &self.kind,
            origin_server_ts: self.ts,
            redacted: true,
        };
        Self::parse(&source, &Value::Null)
    }

    /// What it says, if it is valid and not redacted.
    pub fn valid(&self) -> Option<&Body> {
        self.body.as_ref().ok()
    }
}

/// Adds up amounts in `i128`.
pub(crate) fn total(lines: &[Line]) -> Amount {
    lines.iter().map(|l| l.amount).sum()
}

#[cfg(test)]
mod tests;
