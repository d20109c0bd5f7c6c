//! `com.cliquepay.open`: the root of a ledger.

use std::collections::BTreeSet;

use super::{MAX_LINE, MAX_PEOPLE, MAX_PREV, Obj, Read};
use crate::ids::{EventId, Person};
use crate::money::{Amount, Currency, MAX_DECIMALS};

/// The protocol version that this crate speaks.
pub const VERSION: u64 = 1;
/// Most managers, and most custom units.
const MAX_LISTED: usize = 50;
/// Most opening balances of a chapter.
const MAX_OPENING: usize = 400;

/// Who may amend and void expenses, beside their author and the managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edit {
    /// Nobody.
    Author,
    /// Whoever pays or owes in it as first written.
    #[default]
    Participants,
}

/// When a settlement that the payee did not write counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SettlementPolicy {
    /// Once the payee confirmed it.
    #[default]
    Confirm,
    /// At once, until the payee disputes it.
    Trust,
}

/// Whose debts the plan with the fewest transfers may exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Of people with an account who wrote an entry here.
    #[default]
    Writers,
    /// Everybody's.
    Everyone,
}

/// What a group agreed on. Never changes within a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// Who may amend and void expenses.
    pub edit: Edit,
    /// When a settlement counts.
    pub settlement: SettlementPolicy,
    /// Whose debts may be exchanged.
    pub minimal: Reach,
    /// Whether entries are followed by a line in words.
    pub lines: bool,
}

impl Default for Policies {
    fn default() -> Self {
        Self { edit: Edit::default(), settlement: SettlementPolicy::default(), minimal: Reach::default(), lines: true }
    }
}

/// A unit of the group's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The unit with its code and decimals.
    pub currency: Currency,
    /// What it is called.
    pub name: Option<String>,
}

/// One debt that a chapter opens with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debt {
    /// Who owes.
    pub from: Person,
    /// Whom.
    pub to: Person,
    /// In which currency.
    pub currency: Currency,
    /// How much, positive.
    pub amount: Amount,
}

/// The older chapter that a ledger goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continues {
    /// The older chapter's root.
    pub ledger: EventId,
    /// The room it is in, where that is another.
    pub room_id: Option<String>,
    /// Its heads when it was closed.
    pub heads: Vec<EventId>,
    /// Its digest then.
    pub digest: String,
    /// What everybody owed then.
    pub balances: Vec<Debt>,
}

/// The root of a ledger: what never changes within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The currency that new entries are offered in.
    pub currency: Currency,
    /// Who may amend and void everybody's expenses. `None` stands for the sender of the root.
    pub managers: Option<Vec<Person>>,
    /// Custom units.
    pub units: Vec<Unit>,
    /// What the group agreed on.
    pub policies: Policies,
    /// The older chapter.
    pub continues: Option<Continues>,
}

impl Open {
    pub(super) fn read(obj: &Obj<'_>) -> Read<Self> {
        if obj.need("version")?.as_u64() != Some(VERSION) {
            return obj.fail("version", "is not a known protocol version (1)");
        }
        let units = read_units(obj)?;
        let code = obj.str("currency")?;
        let custom = units.iter().map(|u| &u.currency).find(|c| c.code() == code).cloned();
        let Some(currency) = Currency::iso(code).or(custom) else {
            return obj.fail("currency", "is neither an ISO 4217 code nor one of units");
        };
        let managers = obj.get("managers").map(|_| obj.users("managers", MAX_LISTED)).transpose()?;
        Ok(Self { currency, managers, policies: read_policies(obj)?, continues: read_continues(obj, &units)?, units })
    }

    /// Whether amounts in `currency` may stand in this ledger: ISO currencies always, custom units as declared here.
    pub fn knows(&self, currency: &Currency) -> bool {
        !currency.is_custom() || self.units.iter().any(|u| u.currency == *currency)
    }
}

fn read_units(obj: &Obj<'_>) -> Read<Vec<Unit>> {
    let mut units: Vec<Unit> = Vec::new();
    for (i, value) in obj.opt_array("units", MAX_LISTED)?.iter().enumerate() {
        let unit = Obj::new(value, obj.at(&format!("units[{i}]")))?;
        let decimals =
            unit.need("decimals")?.as_u64().and_then(|d| u8::try_from(d).ok()).filter(|d| *d <= MAX_DECIMALS);
        let Some(decimals) = decimals else {
            return unit.fail("decimals", "must be an integer from 0 to 8");
        };
        let Some(currency) = Currency::custom(unit.str("code")?, decimals) else {
            return unit.fail("code", "must match ^x-[a-z0-9-]{1,16}$");
        };
        if units.iter().any(|u| u.currency.code() == currency.code()) {
            return unit.fail("code", "stands there twice");
        }
        units.push(Unit { currency, name: unit.opt_line("name", 64)? });
    }
    Ok(units)
}

fn read_policies(obj: &Obj<'_>) -> Read<Policies> {
    let Some(value) = obj.get("policies") else {
        return Ok(Policies::default());
    };
    let policies = Obj::new(value, obj.at("policies"))?;
    Ok(Policies {
        edit: match policies.opt_str("edit")? {
            None => Edit::default(),
            Some("author") => Edit::Author,
            Some("participants") => Edit::Participants,
            Some(_) => return policies.fail("edit", "must be author or participants"),
        },
        settlement: match policies.opt_str("settlement")? {
            None => SettlementPolicy::default(),
            Some("confirm") => SettlementPolicy::Confirm,
            Some("trust") => SettlementPolicy::Trust,
            Some(_) => return policies.fail("settlement", "must be confirm or trust"),
        },
        minimal: match policies.opt_str("minimal")? {
            None => Reach::default(),
            Some("writers") => Reach::Writers,
            Some("everyone") => Reach::Everyone,
            Some(_) => return policies.fail("minimal", "must be writers or everyone"),
        },
        lines: policies.opt_bool("lines", true)?,
    })
}

fn read_continues(obj: &Obj<'_>, units: &[Unit]) -> Read<Option<Continues>> {
    let Some(value) = obj.get("continues") else {
        return Ok(None);
    };
    let old = Obj::new(value, obj.at("continues"))?;
    let digest = old.str("digest")?;
    if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return old.fail("digest", "must be 64 lower-case hexadecimal digits");
    }
    let mut balances = Vec::new();
    let mut people: BTreeSet<Person> = BTreeSet::new();
    for (i, value) in old.opt_array("balances", MAX_OPENING)?.iter().enumerate() {
        let debt = Obj::new(value, old.at(&format!("balances[{i}]")))?;
        let (currency, amount) = debt.money()?;
        if amount.signum() <= 0 {
            return debt.fail("amount", "must be positive");
        }
        if currency.is_custom() && !units.iter().any(|u| u.currency == currency) {
            return debt.fail("currency", "is not one of units");
        }
        let (from, to) = (debt.person("from")?, debt.person("to")?);
        if from == to {
            return debt.fail("to", "must be somebody else than from");
        }
        people.extend([from.clone(), to.clone()]);
        balances.push(Debt { from, to, currency, amount });
    }
    if people.len() > MAX_PEOPLE {
        return old.fail("balances", format!("more than {MAX_PEOPLE} people"));
    }
    Ok(Some(Continues {
        ledger: old.event_id("ledger")?,
        room_id: old.opt_line("room_id", MAX_LINE + 55)?,
        heads: old.event_ids("heads", MAX_PREV)?,
        digest: digest.to_owned(),
        balances,
    }))
}
