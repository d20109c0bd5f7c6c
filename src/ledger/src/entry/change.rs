//! `com.cliquepay.amend` and `com.cliquepay.void`.

use super::{EXPENSE, Expense, Invalid, MAX_OVER, MAX_TEXT, Obj, Read, SETTLEMENT, Settlement};
use crate::ids::EventId;

/// The full new content that an amend gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum New {
    Expense(Expense),
    Settlement(Settlement),
}

/// New content for an expense or settlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amend {
    /// The entry that changes: the event that first stated it, never a later version.
    pub target: EventId,
    /// The versions that this replaces.
    pub over: Vec<EventId>,
    /// The full new content.
    pub new: New,
    /// Why.
    pub reason: Option<String>,
}

impl Amend {
    pub(super) fn read(obj: &Obj<'_>) -> Read<Self> {
        let content = Obj::new(obj.need("content")?, obj.at("content"))?;
        let new = match obj.str("type")? {
            EXPENSE => New::Expense(Expense::read(&content)?),
            SETTLEMENT => New::Settlement(Settlement::read(&content)?),
            _ => {
                return Err(Invalid::new(obj.at("type"), "only an expense or a settlement can be amended"));
            }
        };
        Ok(Self {
            target: obj.event_id("target")?,
            over: obj.event_ids("over", MAX_OVER)?,
            new,
            reason: obj.opt_text("reason", MAX_TEXT)?,
        })
    }
}

/// Takes an expense or settlement back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Void {
    /// The entry that is taken back: the event that first stated it.
    pub target: EventId,
    /// The versions that this replaces.
    pub over: Vec<EventId>,
    /// Why.
    pub reason: Option<String>,
}

impl Void {
    pub(super) fn read(obj: &Obj<'_>) -> Read<Self> {
        Ok(Self {
            target: obj.event_id("target")?,
            over: obj.event_ids("over", MAX_OVER)?,
            reason: obj.opt_text("reason", MAX_TEXT)?,
        })
    }
}
