//! Entries that move no balance: participants, recurrences, checkpoints.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Invalid, MAX_LINE, MAX_PREV, Obj, Read};
use crate::ids::{EventId, Person, is_pid};
use crate::money::{Amount, Currency};

/// Longest recurrence rule, in characters.
const MAX_RULE: usize = 500;
/// Most balances that a checkpoint may list.
const MAX_BALANCES: usize = 400;

/// A person without an account, and how such a person becomes a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Participant {
    /// The sender declares a person, who is then called `pid~sender`.
    Declare {
        /// The short name that ids are made of.
        pid: Arc<str>,
        /// The name for people.
        name: String,
    },
    /// The sender says to be that person.
    Claim {
        /// The person (or old user id) that the sender claims to be.
        who: Person,
    },
    /// The sender approves a claim.
    Approve {
        /// The claim's event id.
        claim: EventId,
        /// Competing claims that this one settles.
        instead_of: Vec<EventId>,
    },
}

impl Participant {
    pub(super) fn read(obj: &Obj<'_>) -> Read<Self> {
        match obj.str("action")? {
            "declare" => {
                let pid = obj.str("pid")?;
                if !is_pid(pid) {
                    return obj.fail("pid", "must match ^[a-z0-9_-]{1,32}$");
                }
                Ok(Self::Declare { pid: pid.into(), name: obj.line("name", MAX_LINE)? })
            }
            "claim" => Ok(Self::Claim { who: obj.person("who")? }),
            "approve" => {
                Ok(Self::Approve { claim: obj.event_id("claim")?, instead_of: obj.event_ids("instead_of", MAX_PREV)? })
            }
            _ => obj.fail("action", "must be declare, claim or approve"),
        }
    }
}

/// A repeating expense. Its instances are ordinary expenses of the same author; see [`recurrence_uid`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recurrence {
    /// Names the entry together with its author.
    pub uid: Arc<str>,
    /// An iCalendar RRULE (RFC 5545, section 3.3.10), unread here.
    pub rrule: String,
    /// The first day.
    pub start: String,
    /// The last day.
    pub until: Option<String>,
    /// The IANA time zone whose days are meant.
    pub zone: String,
    /// The expense's content without uid and date.
    pub template: Value,
}

impl Recurrence {
    pub(super) fn read(obj: &Obj<'_>) -> Read<Self> {
        let template = obj.need("template")?;
        if !template.is_object() {
            return Err(Invalid::new(obj.at("template"), "must be an object"));
        }
        Ok(Self {
            uid: obj.uid("uid")?,
            rrule: obj.line("rrule", MAX_RULE)?,
            start: obj.date("start")?,
            until: obj.get("until").map(|_| obj.date("until")).transpose()?,
            zone: obj.line("zone", 64)?,
            template: template.clone(),
        })
    }
}

/// The uid of a recurrence's instance on a local date: `r` and the first 43 hexadecimal digits of
/// SHA-256(recurrence event id ‖ 0x00 ‖ date), so that posting an instance twice makes one.
pub fn recurrence_uid(recurrence: &str, date: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(recurrence.as_bytes());
    hash.update([0]);
    hash.update(date.as_bytes());
    let mut uid = String::from("r");
    uid.push_str(&crate::hex(&hash.finalize()));
    uid.truncate(44);
    uid
}

/// Heads, balances and digest that the sender vouches for. For comparing and showing; no fold starts from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The heads that the fold had.
    pub heads: Vec<EventId>,
    /// The digest it gave.
    pub digest: String,
    /// The balances it gave.
    pub balances: Vec<(Person, Currency, Amount)>,
}

impl Checkpoint {
    pub(super) fn read(obj: &Obj<'_>) -> Read<Self> {
        let mut balances = Vec::new();
        for (i, value) in obj.opt_array("balances", MAX_BALANCES)?.iter().enumerate() {
            let line = Obj::new(value, obj.at(&format!("balances[{i}]")))?;
            let (currency, amount) = line.money()?;
            balances.push((line.person("who")?, currency, amount));
        }
        Ok(Self { heads: obj.event_ids("heads", MAX_PREV)?, digest: obj.line("digest", 64)?, balances })
    }
}
