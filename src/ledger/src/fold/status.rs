//! What the fold says about one entry.

use serde::Serialize;

use crate::entry::{Decision, Entry};
use crate::ids::{EventId, Person};
use crate::money::{Amount, Currency};

/// What an entry is worth in the fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has its effect: it moves balances, or it is the void, verdict or root that decides.
    Counts,
    /// A settlement that waits for the payee; or what would take a settlement back and waits for the payer.
    Pending,
    /// A settlement that the payee disputes.
    Disputed,
    /// Another version, verdict or record of the same payment stands in its place.
    Superseded,
    /// Taken back.
    Void,
    /// It lost against a version whose author had not seen it; somebody should resolve that.
    Conflict,
    /// Its sender may not say this.
    Unauthorised,
    /// Its content breaks a rule.
    Invalid,
    /// The event was redacted.
    Redacted,
    /// What it is about is not here, was redacted or is invalid.
    Orphaned,
    /// Valid, and of a kind that moves no balance.
    Noted,
}

impl Status {
    /// Its name in the API and in the digest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Pending => "pending",
            Self::Disputed => "disputed",
            Self::Superseded => "superseded",
            Self::Void => "void",
            Self::Conflict => "conflict",
            Self::Unauthorised => "unauthorised",
            Self::Invalid => "invalid",
            Self::Redacted => "redacted",
            Self::Orphaned => "orphaned",
            Self::Noted => "noted",
        }
    }

    /// Whether such an entry is listed among the rejects.
    pub fn is_reject(self) -> bool {
        matches!(self, Self::Unauthorised | Self::Invalid | Self::Orphaned)
    }
}

/// A person's net position in one currency: positive where the person is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// Who.
    pub who: Person,
    /// In which currency.
    pub currency: Currency,
    /// How much, in minor units.
    pub amount: Amount,
}

impl Serialize for Balance {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Balance", 3)?;
        out.serialize_field("who", &self.who)?;
        out.serialize_field("currency", &self.currency)?;
        out.serialize_field("amount", &self.currency.format(self.amount))?;
        out.end()
    }
}

/// An event that entries cite and that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The event that is cited.
    pub event_id: EventId,
    /// The entries that cite it, bytewise sorted.
    pub cited_by: Vec<EventId>,
}

/// Versions of one entry whose authors had not seen each other's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The entry: the bytewise smallest event that first stated it.
    pub target: EventId,
    /// The versions in conflict, the one that stands first.
    pub versions: Vec<EventId>,
}

/// An entry that says something but does not count, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reject {
    /// The event.
    pub event_id: EventId,
    /// Its sender.
    pub sender: Person,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `invalid`, `unauthorised` or `orphaned`.
    pub status: Status,
    /// Why.
    pub reason: String,
}

/// A verdict on an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictView {
    /// The verdict's event.
    pub event_id: EventId,
    /// Whose it is.
    pub sender: Person,
    /// What it says.
    pub verdict: Decision,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it is worth itself.
    pub status: Status,
}

/// One entry as the fold sees it.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// What it is worth.
    pub status: Status,
    /// Why, where there is more to say.
    pub reason: Option<&'a str>,
    /// The verdicts on exactly this version, bytewise by event id.
    pub verdicts: Vec<VerdictView>,
    /// The void that stands, where its entry is taken back.
    pub voided_by: Option<EventId>,
    /// The version that stands for the entry, itself included; `None` where there is none or it is no such entry.
    pub current: Option<EventId>,
    /// What to warn of; it counts all the same.
    pub warnings: Vec<String>,
}
